"use strict";
// The frame: tabs, runs, notes, keys; the page of the address; an update every second.

const pages = { overview: overviewPage, trajectories: trajectoriesPage, trajectory: trajectoryPage, simulator: simulatorPage, compare: comparePage, study: studyPage };
const tabs = [["overview", "Overview"], ["trajectories", "Trajectories"], ["simulator", "Simulator"], ["compare", "Compare"], ["study", "Study"]];
const main = document.getElementById("main");
let state = { runs: [], version: "" };
let lastTable = "";
let shownVersion = "";

// the runs in the address, or all of them
function chosen(words) {
  const named = words.getAll("run").filter((key) => state.runs.some((run) => run.key === key));
  const wanted = new URLSearchParams();
  for (const key of named.length ? named : state.runs.map((run) => run.key)) wanted.append("run", key);
  return wanted;
}
const chosenRun = (words) => words.get("run") || state.runs[0]?.key || "";

let showing = 0;
async function show() {
  const { page, words } = address(), mine = ++showing;
  frame(page, words);
  if (page === "trajectories") lastTable = location.hash;
  let parts;
  try {
    parts = await (pages[page] ?? overviewPage)(words);
  } catch (error) {
    parts = [el("p", { class: "about", role: "alert" }, error.message || String(error))];
  }
  if (mine !== showing) return;
  main.replaceChildren(...parts.flat(Infinity).filter(Boolean));
  document.title = `${tabs.find(([name]) => name === page)?.[1] ?? "Trajectory"} · ${chosenRun(words)} · zerosearch`;
  shownVersion = state.version;
}

function frame(page, words) {
  const here = page === "trajectory" ? "trajectories" : page;
  const named = words.getAll("run");
  document.getElementById("tabs").replaceChildren(...tabs.filter(([name]) => name !== "study" || state.has_study).map(([name, title], i) =>
    el("a", { href: link(name, { run: name === "trajectories" ? chosenRun(words) : named }), "aria-current": name === here ? "page" : null, "aria-keyshortcuts": String(i + 1) }, title)));
  const one = here === "trajectories";
  const on = (key) => (one ? key === chosenRun(words) : !named.length || named.includes(key));
  const toggle = (key) => () => {
    const all = state.runs.map((run) => run.key), now = all.filter((k) => (k === key ? !on(k) : on(k)));
    location.hash = one ? link("trajectories", { run: key }) : link(page, { run: now.length === all.length ? [] : now });
  };
  document.getElementById("runs").replaceChildren(...state.runs.map((run) => el("button", { type: "button", "aria-pressed": String(on(run.key)), title: run.path, onclick: toggle(run.key) },
    run.key, el("small", {}, run.kind === "evaluation" ? " evaluation" : ` ${run.step}${run.steps ? `/${run.steps}` : ""}`, run.live ? " · live" : "", run.read_share < 1 ? ` · reading ${Math.round(100 * run.read_share)}%` : ""))));
  say(...state.runs.filter((run) => on(run.key)).flatMap((run) => run.notes));
}

const say = (...lines) => document.getElementById("notes").replaceChildren(...lines.map((line) => el("p", {}, line)), ...(report ? [el("p", {}, report.note)] : []));

async function tick() {
  if (!document.hidden) {
    try {
      const before = state.version;
      state = await get("state");
      const { page, words } = address();
      if (before !== state.version) frame(page, words);
      // a trajectory that is being read is left alone; a table or an overview follows the run
      if (state.version !== shownVersion && !document.activeElement?.closest?.("form")) {
        if (page === "trajectories") { shownVersion = state.version; await updateTable(); }
        else if (page !== "trajectory") { const y = scrollY; await show(); scrollTo(0, y); }
      }
    } catch { say("The viewer does not answer; check that zerosearch view is still running."); }
  }
  setTimeout(tick, 1000);
}

// ---- keys

const keys = [["1 – 5", "pages"], ["j k, ↓ ↑", "next and previous row, or scroll"], ["Enter", "open"], ["← →", "previous and next page of rows, or trajectory"], ["/", "search"], ["t", "shade tokens: off, log-prob, advantage"], ["g", "the group side by side"], ["s", "the same question at other steps"], ["Esc", "back"], ["?", "this list"]];
const help = document.getElementById("help");
help.append(el("h2", { id: "help-title" }, "Keys"), el("dl", {}, keys.map(([key, what]) => el("div", {}, el("dt", {}, el("kbd", {}, key)), el("dd", {}, what)))), el("form", { method: "dialog" }, el("button", {}, "Close")));
document.getElementById("keys").addEventListener("click", () => help.showModal());

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || help.open) return;
  const typing = event.target.matches("input, select, textarea");
  if (typing) { if (event.key === "Escape") event.target.blur(); return; }
  const { page, words } = address();
  const click = (id) => document.getElementById(id)?.click();
  const step = (change) => { if (page === "trajectory") location.hash = link("trajectory", { run: chosenRun(words), n: Math.max(0, Number(words.get("n")) + change), shade: words.get("shade") }); };
  const rows = page === "trajectories";
  const actions = {
    j: () => (rows ? select(1) : scrollBy(0, 120)), k: () => (rows ? select(-1) : scrollBy(0, -120)),
    ArrowDown: rows && (() => select(1)), ArrowUp: rows && (() => select(-1)),
    ArrowRight: () => (rows ? click("next") : step(1)), ArrowLeft: () => (rows ? click("previous") : step(-1)),
    Enter: rows && event.target === document.body && (() => document.querySelector("tr.selected a")?.click()),
    "/": () => { if (rows) document.getElementById("q").focus(); else location.hash = link("trajectories", { run: chosenRun(words), find: "1" }); },
    t: page === "trajectory" && (() => { const order = ["", "logprob", "advantage"]; amend({ shade: order[(order.indexOf(words.get("shade") || "") + 1) % 3] }); show(); }),
    g: () => click("group"), s: () => click("elsewhere"),
    Escape: () => { if (page === "trajectory") location.hash = lastTable || link("trajectories", { run: chosenRun(words) }); },
    "?": () => help.showModal(),
  };
  const tab = tabs[Number(event.key) - 1];
  const action = tab ? () => { location.hash = link(tab[0], { run: words.getAll("run") }); } : actions[event.key];
  if (!action || (page !== "trajectory" && !rows && event.key.startsWith("Arrow"))) return;
  event.preventDefault();
  action();
});

// ---- light and dark

const themes = ["auto", "light", "dark"];
let theme = "auto";
try { theme = localStorage.getItem("zerosearch-theme") || "auto"; } catch { /* a file opened in a strict browser has no storage */ }
function setTheme(name) {
  theme = themes.includes(name) ? name : "auto";
  document.documentElement.dataset.theme = theme;
  document.getElementById("theme").textContent = `Theme: ${theme}`;
  try { localStorage.setItem("zerosearch-theme", theme); } catch { /* as above */ }
  redraw();
}
document.getElementById("theme").addEventListener("click", () => setTheme(themes[(themes.indexOf(theme) + 1) % 3]));
setTheme(theme);

addEventListener("hashchange", async () => {
  if (address().words.get("find")) { amend({ find: "" }); await show(); document.getElementById("q")?.focus(); }
  else { await show(); scrollTo(0, 0); }
});
(async () => {
  try { state = await get("state"); } catch { /* reported by the first tick */ }
  await show();
  if (!report) setTimeout(tick, 1000);
})();
