"use strict";
// The first page: curves, before and after, facts, the recipe.

async function overviewPage(words) {
  const found = await get("overview", chosen(words));
  const parts = [];
  for (const summary of found.summaries ?? []) if (summary.rows.length) parts.push(beforeAndAfter(summary, found.summaries.length > 1));
  parts.push(el("section", {}, el("h2", {}, "Curves"),
    found.charts?.length ? el("div", { class: "charts" }, found.charts.map(figure)) : el("p", { class: "about" }, "No step is finished yet; this page updates by itself."),
    found.more?.length ? el("details", { class: "fold" }, el("summary", {}, `More curves (${found.more.length})`), el("div", { class: "charts" }, found.more.map(figure))) : null));
  for (const summary of found.summaries ?? []) if (summary.facts.length || summary.phases.length) parts.push(facts(summary, found.summaries.length > 1));
  for (const config of found.configs ?? [])
    if (config.text) parts.push(el("details", { class: "fold" }, el("summary", {}, `Recipe of ${config.key}`), el("pre", { tabindex: 0 }, config.text)));
  return parts;
}

const cell = (figure, cls = "") => el("td", {}, figure ? [el("span", { class: `figure ${cls}` }, figure.mean.toFixed(3)),
  figure.low == null || figure.high == null ? null : el("small", {}, `${figure.low.toFixed(3)} – ${figure.high.toFixed(3)}`)] : "–");

function beforeAndAfter(summary, several) {
  const before = summary.rows.some((row) => row.base);
  const svg = (name, attributes) => el(name, { ...attributes, svg: true });
  const mark = (figure, y, after) => figure ? [
    figure.low != null ? svg("line", { class: `interval ${after ? "" : "before"}`, x1: 240 * figure.low, x2: 240 * figure.high, y1: y, y2: y }) : null,
    svg("circle", { class: after ? "full" : "hollow", cx: 240 * figure.mean, cy: y, r: after ? 6 : 5 })] : [];
  const plot = (row) => row.is_share ? el("svg", { viewBox: "-8 0 256 36", preserveAspectRatio: "xMinYMid", "aria-hidden": "true" },
    svg("line", { class: "axis", x1: 0, x2: 240, y1: 18, y2: 18 }), [0, 120, 240].map((x) => svg("line", { class: "axis", x1: x, x2: x, y1: 14, y2: 22 })),
    mark(row.base, 12, false), mark(row.trained, 24, true)) : null;
  const change = (row) => (row.base && row.trained ? signed(row.trained.mean - row.base.mean) : "");
  return el("section", {}, el("h2", {}, before ? "Before and after" : "Figures", several ? ` · ${summary.key}` : ""),
    el("p", { class: "about" }, before ? "The policy before (○) and after (●) training" : "The measured figures", summary.questions ? `, on ${summary.questions} questions` : "",
      ". Small figures and bars show 95% intervals; bars run from 0 to 1."),
    el("div", { class: "wide", tabindex: 0, role: "region", "aria-label": `Figures of ${summary.key}` }, el("table", { class: "comparison" },
      el("thead", {}, el("tr", {}, ["Measure", ...(before ? ["Before", "After", "Change"] : ["Value"])].map((h) => el("th", { scope: "col" }, h)), el("td", { class: "plot" }))),
      el("tbody", {}, summary.rows.map((row) => el("tr", {}, el("th", { scope: "row" }, row.label), before ? cell(row.base) : null, cell(row.trained, "after"),
        before ? el("td", { class: "change" }, change(row)) : null, el("td", { class: "plot" }, plot(row))))))));
}

function facts(summary, several) {
  const bar = (share) => el("svg", { viewBox: "0 0 100 8", preserveAspectRatio: "none", "aria-hidden": "true" }, el("rect", { svg: true, width: 100 * share, height: 8 }));
  return el("section", {}, el("h2", {}, several ? `The run ${summary.key}` : "The run"), el("div", { class: "facts" },
    summary.phases.length ? el("div", {}, el("h3", {}, "Time by phase"), el("table", { class: "phases" },
      el("tbody", {}, summary.phases.map((p) => el("tr", {}, el("th", { scope: "row" }, p.name), el("td", {}, p.text), el("td", { class: "bar" }, bar(p.share))))))) : null,
    summary.facts.map((group) => el("div", {}, el("h3", {}, group.title), el("dl", {}, group.rows.map(([key, value]) => el("div", {}, el("dt", {}, key), el("dd", {}, value))))))));
}
