"use strict";
// One trajectory as a conversation, or several side by side.

const longest = 12000; // characters of a span shown at once
const mostTokens = 3000;

async function trajectoryPage(words) {
  const run = chosenRun(words);
  const numbers = words.getAll("n");
  const found = await Promise.all(numbers.map((n) => get("trajectory", new URLSearchParams({ run, n }))));
  const shade = words.get("shade") || "";
  const beside = found.length > 1;
  const first = found[0];
  const others = (list) => list.filter((row) => row.n !== first.n).slice(0, 11).map((row) => row.n);
  const choose = (value, text) => el("button", { type: "button", "aria-pressed": String(shade === value), onclick: () => { amend({ shade: value }); show(); } }, text);
  const side = (list, text, key) => others(list).length ? el("a", { class: "button", id: key, href: link("trajectory", { run, n: [first.n, ...others(list)], shade }) }, text) : null;
  return [
    el("p", { class: "actions" },
      el("a", { class: "button", href: lastTable || link("trajectories", { run }) }, "← all trajectories"),
      beside ? el("a", { class: "button", href: link("trajectory", { run, n: first.n, shade }) }, "only the first")
        : [side(first.group, `its group side by side (${first.group.length})`, "group"), side(first.elsewhere, `this question at other steps (${first.elsewhere.length})`, "elsewhere")],
      el("span", { role: "group", "aria-label": "Shade tokens by" }, "Shade tokens: ", choose("", "off"), choose("logprob", "log-prob"), choose("advantage", "advantage"))),
    legend(shade),
    el("div", { class: beside ? "beside" : "", tabindex: beside ? 0 : null, role: beside ? "region" : null, "aria-label": beside ? "Side by side" : null }, found.map((t) => conversation(t, shade, beside))),
  ];
}

function legend(shade) {
  const chips = el("p", { class: "legend" }, el("span", {}, "Who wrote it"), ["policy", "environment", "prompt"].map((a) => el("span", { class: `chip ${a}` }, a)), el("mark", {}, "gold answer"), el("span", {}, el("span", { class: "tag" }, "<tag>")));
  if (!shade) return chips;
  const scale = shade === "logprob"
    ? [["p0", "likely, p > 0.9"], ["p1", "> 0.5"], ["p2", "> 0.1"], ["p3", "> 0.01"], ["p4", "rarer"]]
    : [["up2", "reinforced"], ["up1", "a little"], ["p0", "0"], ["down1", "a little less"], ["down2", "discouraged"]];
  return [chips, el("p", { class: "legend" }, el("span", {}, shade === "logprob" ? "Probability under the sampler" : "Advantage"), scale.map(([cls, text]) => el("span", { class: `token ${cls}` }, text)), el("span", { class: "token masked" }, "masked: not trained on"))];
}

function conversation(t, shade, beside) {
  const scores = t.scores ? ["em", "cover_em", "f1"].map((key) => `${{ em: "EM", cover_em: "cover EM", f1: "F1" }[key]} ${number(t.scores[key])}`).join(" · ") : "unscored";
  const pair = (name, value) => el("div", {}, el("dt", {}, name), el("dd", {}, value));
  const verdict = t.scores?.em == null ? "unscored" : t.scores.em === 1 ? "right" : "wrong";
  return el("section", { class: "trajectory" },
    el(beside ? "h3" : "h2", {}, t.question.text || "(no question)"),
    el("dl", { class: "outcome" },
      pair("Step", `${t.step} ${t.phase}`), pair("Score", el("span", { class: `verdict ${verdict}` }, verdict)),
      pair("Gold", t.question.golds.map((gold) => [el("mark", {}, gold), " "])), pair("Answer", t.answer ?? "none"), pair("Scores", scores),
      pair("Reward", number(t.reward)), pair("Advantage", signed(t.advantage)),
      pair("Stopped", t.stop_reason.replaceAll("_", " ") + (t.cause ? `: ${t.cause}` : "")), pair("Sample", t.sample), pair("Record", String(t.n)),
      t.malformed_turns ? pair("Malformed turns", String(t.malformed_turns)) : null),
    t.spans.map((span) => block(span, t, shade)),
    t.unshown_searches.map((search) => el("article", { class: "environment" }, el("h4", {}, "environment ", el("small", {}, "its reply never became part of the text")), searchLine(search),
      search.documents.map((d) => el("div", { class: "text" }, d.title ? `${d.title}: ` : "", marked(d.pieces))))));
}

function searchLine(search) {
  return el("p", { class: "search" }, el("span", {}, `Search ${search.number}: `, el("q", {}, search.query)),
    el("span", { class: `badge ${search.quality || "real"}` }, search.quality ? `drawn: ${search.quality}` : "nothing drawn: real engine"),
    search.remark ? el("span", { class: "remark" }, search.remark) : null);
}

function block(span, t, shade) {
  const text = el("div", { class: `text ${shade && span.masked ? "masked" : ""}` });
  if (shade && span.tokens) tokens(text, span.tokens, t, shade, 0);
  else fill(text, span.pieces, longest);
  const note = span.masked ? " · masked" : shade && !span.tokens ? " · its tokens were not stored, or there is no tokenizer" : "";
  return el("article", { class: span.author }, el("h4", {}, span.author, " ", el("small", {}, span.token_count ? count(span.token_count, "token") + note : note)), span.search ? searchLine(span.search) : null, text);
}

// the first characters, and a button for the rest
function fill(place, pieces, room) {
  const now = [], later = [];
  for (const [text, kind] of pieces) {
    if (text.length <= room) now.push([text, kind]);
    else { if (room > 0) now.push([text.slice(0, room), kind]); later.push([text.slice(Math.max(0, room)), kind]); }
    room = Math.max(0, room - text.length);
  }
  place.append(...marked(now));
  more(place, later.reduce((sum, [text]) => sum + text.length, 0), "character", () => fill(place, later, 10 * longest));
}

function more(place, left, word, go) {
  if (left) place.append(el("button", { type: "button", class: "more", onclick: (event) => { event.target.remove(); go(); } }, `${count(left, "more " + word)}`));
}

function tokens(place, found, t, shade, from) {
  const to = Math.min(found.texts.length, from + mostTokens);
  for (let i = from; i < to; i++) {
    const logprob = found.logprobs[i], advantage = found.advantages?.[i] ?? t.advantage;
    const cls = shade === "logprob" ? likelihood(logprob) : push(advantage);
    place.append(el("span", { class: `token ${cls}`, title: `p ${logprob == null ? "?" : number(Math.exp(logprob))}, log-prob ${number(logprob)}, advantage ${signed(advantage)}` }, found.texts[i]));
  }
  more(place, found.texts.length - to, "token", () => tokens(place, found, t, shade, to));
}

function likelihood(logprob) {
  const p = Math.exp(logprob ?? 0);
  return p > 0.9 ? "p0" : p > 0.5 ? "p1" : p > 0.1 ? "p2" : p > 0.01 ? "p3" : "p4";
}

const push = (advantage) => (advantage == null || Math.abs(advantage) < 1e-6 ? "p0" : `${advantage > 0 ? "up" : "down"}${Math.abs(advantage) > 0.5 ? 2 : 1}`);
