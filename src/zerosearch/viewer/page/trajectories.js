"use strict";
// The table of trajectories: filters above, fifty rows, one of them selected.

const perPage = 50;
let selected = 0;

async function trajectoriesPage(words) {
  const run = chosenRun(words);
  const wanted = new URLSearchParams(words);
  wanted.set("run", run);
  wanted.set("limit", perPage);
  const found = await get("trajectories", wanted);
  selected = Math.min(Number(words.get("at") || 0), Math.max(0, found.rows.length - 1));
  const results = el("div", { id: "results" }, tableOf(found, run, words));
  return [el("h2", {}, "Trajectories"), filters(found, words), results];
}

function filters(found, words) {
  const { facets } = found;
  const change = (name) => async (event) => { amend({ [name]: event.target.value, offset: "", at: "" }); await updateTable(); };
  const select = (name, label, options) => el("label", {}, label, el("select", { name, onchange: change(name) },
    el("option", { value: "" }, "any"), options.map(([value, text]) => el("option", { value, selected: words.get(name) === value }, text))));
  const plain = (values) => values.map((value) => [value, value.replaceAll("_", " ")]);
  const step = (name, label, hint) => el("label", {}, label, el("input", { type: "number", name, min: 0, placeholder: hint ?? "", value: words.get(name) || "", oninput: soon(change(name)) }));
  return el("form", { class: "filters", role: "search", "aria-label": "Filter trajectories", onsubmit: (event) => event.preventDefault() },
    el("label", { class: "wide-filter" }, "Question", el("input", { type: "search", id: "q", name: "q", placeholder: "words of the question, a gold answer, an id", value: words.get("q") || "", oninput: soon(change("q")), "aria-keyshortcuts": "/" })),
    step("from", "Step from", facets.steps[0]), step("to", "to", facets.steps[1]),
    select("phase", "Phase", plain(facets.phase)),
    select("score", "Score", [["right", "right"], ["wrong", "wrong"], ["unscored", "unscored"]]),
    select("noise", "Noise drawn", plain(facets.drawn)),
    select("stop", "Stopped", plain(facets.stop_reason)),
    select("searches", "Searches", [["0", "0"], ["1", "1"], ["2", "2"], ["3", "3"], ["-4", "4 or more"]]));
}

function soon(work) {
  let timer;
  return (event) => { clearTimeout(timer); timer = setTimeout(() => work(event), 120); };
}

let asked = 0;
async function updateTable() {
  const { words } = address(), mine = ++asked, run = chosenRun(words);
  const wanted = new URLSearchParams(words);
  wanted.set("run", run);
  wanted.set("limit", perPage);
  try {
    const found = await get("trajectories", wanted);
    if (mine !== asked) return; // a later request was made meanwhile
    selected = Math.min(Number(words.get("at") || 0), Math.max(0, found.rows.length - 1));
    document.getElementById("results")?.replaceChildren(...tableOf(found, run, words));
  } catch (error) { say(error.message); }
}

const columns = [["step", "Step"], ["question", "Question"], ["em", "Score"], ["reward", "Reward"], ["advantage", "Advantage"], ["searches", "Searches"], [null, "Noise drawn"], [null, "Stopped"], ["tokens", "Tokens"]];

function tableOf(found, run, words) {
  const last = Math.min(found.offset + perPage, found.total);
  const sort = words.get("sort"), down = words.get("descending") === "1";
  const by = (name) => async () => { amend({ sort: name, descending: sort === name && !down ? "1" : "", offset: "", at: "" }); await updateTable(); };
  const turn = (offset) => async () => { amend({ offset: offset || "", at: "" }); await updateTable(); };
  const head = columns.map(([name, title]) => el("th", { scope: "col", "aria-sort": sort === name && name ? (down ? "descending" : "ascending") : null },
    name ? el("button", { type: "button", class: "sort", onclick: by(name) }, title, sort === name ? (down ? " ▾" : " ▴") : "") : title));
  const verdict = (row) => { const word = row.em == null ? "unscored" : row.em === 1 ? "right" : "wrong"; return el("span", { class: `verdict ${word}` }, word); };
  const rows = found.rows.map((row, i) => el("tr", { "data-n": row.n, class: i === selected ? "selected" : "", "aria-current": i === selected ? "true" : null },
    el("td", { class: "num" }, row.step, el("small", {}, ` ${row.phase}`)),
    el("th", { scope: "row" }, el("a", { href: link("trajectory", { run, n: row.n }) }, row.question || "(no question)")),
    el("td", {}, verdict(row)), el("td", { class: "num" }, number(row.reward)), el("td", { class: "num" }, signed(row.advantage)), el("td", { class: "num" }, row.searches),
    el("td", {}, row.drawn), el("td", {}, row.stop_reason.replaceAll("_", " ")), el("td", { class: "num" }, number(row.tokens))));
  return [
    el("p", { class: "about", role: "status" }, found.total ? `${(found.offset + 1).toLocaleString("en")}–${last.toLocaleString("en")} of ${count(found.total, "trajector")}`.replace(/trajectors?$/, found.total === 1 ? "trajectory" : "trajectories") : "None matches; change a filter.",
      report && found.all > report.rows.length ? ` (this file holds a sample of ${report.rows.length} of ${found.all.toLocaleString("en")})` : ""),
    el("div", { class: "wide", tabindex: 0, role: "region", "aria-label": "Trajectories" }, el("table", { class: "rows" }, el("thead", {}, el("tr", {}, head)), el("tbody", {}, rows))),
    el("p", { class: "pager" }, el("button", { type: "button", id: "previous", disabled: !found.offset, onclick: turn(Math.max(0, found.offset - perPage)) }, "← previous"),
      el("button", { type: "button", id: "next", disabled: last >= found.total, onclick: turn(found.offset + perPage) }, "next →")),
  ];
}

function select(change) {
  const rows = [...document.querySelectorAll("table.rows tbody tr")];
  if (!rows.length) return;
  rows[selected]?.classList.remove("selected");
  rows[selected]?.removeAttribute("aria-current");
  selected = Math.min(Math.max(selected + change, 0), rows.length - 1);
  rows[selected].classList.add("selected");
  rows[selected].setAttribute("aria-current", "true");
  rows[selected].querySelector("a").focus();
  rows[selected].scrollIntoView({ block: "nearest" });
  amend({ at: selected || "" });
}
