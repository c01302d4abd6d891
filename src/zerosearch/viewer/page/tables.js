"use strict";
// Simulator, compare, study.

async function simulatorPage(words) {
  const found = await get("simulator", chosen(words));
  return [el("h2", {}, "Simulator"), el("p", { class: "about" }, "Does it obey the keyword in its prompt? For each query: what it wrote when asked for useful documents, when asked for noisy ones, and what the real engine found."),
    (found.cards ?? []).map(card)];
}

function card(found) {
  const interval = (f) => (f.low == null ? "" : `[${number(f.low)}, ${number(f.high)}]${f.n ? ` n ${f.n}` : ""}`);
  const bar = (share) => el("svg", { viewBox: "0 0 100 8", preserveAspectRatio: "none", "aria-hidden": "true" }, el("rect", { svg: true, width: 100 * share, height: 8 }));
  const titles = { useful: "asked for useful", noisy: "asked for noisy", real: "the real engine" };
  return el("section", {}, el("h3", {}, found.key, el("small", {}, ` ${found.engine}`)),
    found.figures.length ? el("table", { class: "phases card" }, el("tbody", {}, found.figures.map((f) => el("tr", {}, el("th", { scope: "row" }, f.label), el("td", {}, number(f.value), " ", el("small", {}, interval(f))), el("td", { class: "bar" }, f.is_share ? bar(f.value) : null)))))
      : el("p", { class: "about" }, "This run has no card (the quickstart and zerosearch card make one)."),
    found.examples.length && found.from === "rollouts" ? el("p", { class: "about" }, "From the rollouts: queries that were drawn useful once and noisy once. The real engine's results for them were not recorded.") : null,
    found.examples.map((example, i) => el("details", { class: "fold", open: i === 0 }, el("summary", {}, el("q", {}, example.query)),
      el("p", { class: "about" }, example.question, " ", example.golds.map((gold) => [el("mark", {}, gold), " "])),
      el("div", { class: "columns" }, Object.entries(example.replies).map(([who, documents]) => el("div", {}, el("h4", { class: `badge ${who}` }, titles[who]),
        documents.length ? el("ol", {}, documents.map((d) => el("li", {}, d.title ? el("strong", {}, `${d.title} `) : null, marked(d.pieces)))) : el("p", {}, "no document")))))));
}

async function comparePage(words) {
  const found = await get("compare", chosen(words));
  if (!found.pairs?.length) return [el("h2", {}, "Compare"), el("p", { class: "about" }, "Choose two or more runs above; zerosearch view RUN RUN opens several.")];
  return [el("h2", {}, "Compare"), found.together ? together(found.together) : null, found.pairs.map(pairOf)];
}

function together(all) {
  const figureOf = (f) => el("td", { class: "num" }, f ? [number(f.mean), f.low == null ? null : el("small", {}, ` [${number(f.low)}, ${number(f.high)}]`)] : "–");
  return el("section", {}, el("h3", {}, `All ${all.runs.length} runs`), el("p", { class: "about" }, all.n ? `Held out: ${count(all.n, "question")} that all were asked. Below, every pair.` : "The stored runs share no held-out question. Below, every pair."),
    el("div", { class: "wide", tabindex: 0, role: "region", "aria-label": "All runs" }, el("table", { class: "rows" },
      el("thead", {}, el("tr", {}, ["Measure [95%]", ...all.runs, "How"].map((h) => el("th", { scope: "col" }, h)))),
      el("tbody", {}, all.rows.map((row) => el("tr", {}, el("th", { scope: "row" }, row.label), row.figures.map(figureOf), el("td", {}, el("small", {}, row.how))))))));
}

function pairOf(pair) {
  const sure = (row) => (row.low == null ? "" : row.low > 0 || row.high < 0 ? "differs" : "no difference shown");
  return el("section", {}, el("h3", {}, `${pair.b} − ${pair.a}`),
    el("div", { class: "wide", tabindex: 0, role: "region", "aria-label": `Differences of ${pair.b} and ${pair.a}` }, el("table", { class: "rows" },
      el("thead", {}, el("tr", {}, ["Measure", pair.a, pair.b, "Difference [95%]", "p", "n", "", "How"].map((h) => (h ? el("th", { scope: "col" }, h) : el("td"))))),
      el("tbody", {}, pair.rows.map((row) => el("tr", {}, el("th", { scope: "row" }, row.label), el("td", { class: "num" }, number(row.a)), el("td", { class: "num" }, number(row.b)),
        el("td", { class: "num" }, signed(row.difference), row.low == null ? "" : ` [${signed(row.low)}, ${signed(row.high)}]`), el("td", { class: "num" }, row.p == null ? "" : number(row.p, 2)), el("td", { class: "num" }, row.n ?? ""), el("td", {}, sure(row)), el("td", {}, el("small", {}, row.how))))))),
    pair.n ? [el("p", { class: "about" }, `${count(pair.n, "question")} held out and asked in both runs: both right ${pair.both}, neither ${pair.neither}.`), onlyOne(pair, "a"), onlyOne(pair, "b")]
      : el("p", { class: "about" }, "The stored records share no held-out question."));
}

function onlyOne(pair, side) {
  const other = side === "a" ? "b" : "a", list = pair[`only_${side}`];
  return el("details", { class: "fold", open: list.count > 0 && list.count <= 10 }, el("summary", {}, `${count(list.count, "question")} that ${pair[side]} answers and ${pair[other]} does not`),
    el("div", { class: "wide", tabindex: 0, role: "region", "aria-label": `${pair[side]} answers, ${pair[other]} does not` }, el("table", { class: "rows" }, el("thead", {}, el("tr", {}, ["Question", pair.a, pair.b].map((h) => el("th", { scope: "col" }, h)))),
      el("tbody", {}, list.rows.map((row) => el("tr", {}, el("th", { scope: "row" }, row.question), ["a", "b"].map((s) => el("td", {}, el("a", { href: link("trajectory", { run: pair[s], n: row[`${s}_n`] }) }, row[`${s}_answer`] || "no answer"), el("small", {}, ` ${count(row[`${s}_searches`], "search")}`.replace(/searchs$/, "searches"))))))))));
}

async function studyPage() {
  const found = await get("study");
  return [el("h2", {}, "Study"), (found.studies ?? []).map((study) => el("section", {}, el("h3", {}, study.title), study.about ? el("p", { class: "about" }, study.about) : null,
    study.claims.length ? el("div", { class: "wide", tabindex: 0, role: "region", "aria-label": "Claims" }, el("table", { class: "rows" },
      el("thead", {}, el("tr", {}, ["Claim, and what the paper says", "Test", "Ours [95%]", "n", "Verdict"].map((h) => el("th", { scope: "col" }, h)))),
      el("tbody", {}, study.claims.map(claimRow)))) : null,
    el("div", { class: "charts" }, study.claims.map((claim) => claim.chart ? figure({ ...claim.chart, title: claim.claim, caption: claim.plot_title || claim.id }) : claim.bars.length ? bars(claim) : null))))];
}

// a claim is shown once beside all of its tests
function claimRow(c, i, claims) {
  const goesOn = (k) => k > 0 && k < claims.length && claims[k].id === claims[k - 1].id;
  let rowspan = 1;
  while (goesOn(i + rowspan)) rowspan++;
  const verdict = { replicates: "right", "does not": "wrong" }[c.verdict] ?? "unscored";
  return el("tr", {}, goesOn(i) ? null : el("th", { scope: "rowgroup", rowspan }, c.claim, " ", el("small", {}, c.paper)),
    el("td", { class: "words" }, c.test, " ", c.note ? el("small", {}, c.note) : null),
    el("td", { class: "num" }, c.ours, c.low == null ? "" : ` [${number(c.low)}, ${number(c.high)}]`), el("td", { class: "num" }, c.n),
    el("td", {}, c.verdict ? el("span", { class: `verdict ${verdict}` }, c.verdict) : null));
}

function bars(claim) {
  const edges = claim.bars.flatMap((b) => [b.mean, b.high ?? b.mean, 0]), top = Math.max(...edges) || 1;
  const svg = (name, attributes) => el(name, { ...attributes, svg: true });
  return el("figure", {}, el("h3", {}, claim.claim), el("table", { class: "phases card" }, el("tbody", {}, claim.bars.map((b) => el("tr", {}, el("th", { scope: "row" }, b.label), el("td", {}, number(b.mean), b.low == null ? "" : ` [${number(b.low)}, ${number(b.high)}]`),
    el("td", { class: "bar" }, el("svg", { viewBox: "0 0 100 8", preserveAspectRatio: "none", "aria-hidden": "true" }, svg("rect", { width: Math.max(0, (100 * b.mean) / top), height: 8 }))))))), el("figcaption", {}, claim.plot_title || claim.id));
}
