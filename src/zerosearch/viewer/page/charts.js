"use strict";
// Charts described by the server, drawn by uPlot; drawn again when the width or the colours change.

const dashes = [[], [7, 4], [2, 3], [10, 3, 2, 3]];
const borders = ["solid", "dashed", "dotted", "dashed"]; // the legend's version of the dashes
const chartHeight = 240;
const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const colourOf = (i) => css(`--series-${i % 6}`);
const plots = new Set();

function figure(chart) {
  const id = `chart-${chart.id}-${Math.random().toString(36).slice(2, 7)}`;
  const place = el("div", { class: "chart", role: "img", "aria-labelledby": `${id}-title ${id}-caption` });
  place.described = chart;
  resized.observe(place);
  return el("figure", {}, el("h3", { id: `${id}-title` }, chart.title), place, el("figcaption", { id: `${id}-caption` }, chart.caption));
}

// in the next frame: drawing changes sizes, which an observer must not do
const resized = new ResizeObserver((entries) => requestAnimationFrame(() => entries.forEach(({ target }) => fit(target))));

function fit(place) {
  if (!place.isConnected) { place.plot?.destroy(); plots.delete(place); resized.unobserve(place); return; }
  if (!place.clientWidth) return; // inside a closed <details>
  if (place.plot) place.plot.setSize({ width: place.clientWidth, height: chartHeight });
  else draw(place);
}

function draw(place) {
  const chart = place.described;
  const values = stacked(chart);
  const last = (list) => list.findLast((value) => value != null);
  const series = chart.series.map(({ label, style, colour, dash }, i) => {
    const stroke = colourOf(colour);
    const shown = (u, v, j) => number((u.cursor.idx == null ? last(chart.series[i].values) : chart.series[i].values[u.cursor.idx]) ?? null);
    const common = { label, spanGaps: true, value: shown, points: { show: false } };
    if (style === "line") {
      const points = { size: 5, fill: stroke, show: (u, j) => u.data[j].filter((v) => v != null).length <= 30 };
      return { ...common, stroke, width: 2, dash: dashes[(dash ?? colour) % dashes.length], points };
    }
    if (style === "share") return { ...common, stroke, width: 1.5, fill: stroke + "66", dash: dashes[colour % dashes.length] };
    if (style === "faint") return { ...common, stroke: stroke + "59", width: 1, class: "unlisted" };
    if (style === "points") return { ...common, stroke, paths: () => null, points: { show: true, size: 5, fill: css("--card"), width: 1.5 } };
    return { ...common, stroke: "transparent", width: 0, class: "unlisted" };
  });
  const bands = chart.series.flatMap(({ style, colour }, i) => {
    if (style !== "high") return [];
    const low = chart.series.findIndex((other) => other.style === "low" && other.colour === colour);
    return low < 0 ? [] : [{ series: [i + 1, low + 1], fill: colourOf(colour) + "29" }];
  });
  const range = (_, low, high) => {
    if (low == null) return [0, 1];
    const bottom = Math.min(0, low);
    return [bottom * 1.05, high > bottom ? high + (high - bottom) * 0.06 : bottom + 1];
  };
  const axis = { stroke: css("--muted"), font: "12px system-ui, sans-serif", labelFont: "12px system-ui, sans-serif", labelSize: 20,
    grid: { stroke: css("--line"), width: 1 }, ticks: { show: false } };
  const order = values.map((_, i) => i);
  const options = {
    width: place.clientWidth, height: chartHeight,
    scales: { x: { time: false, range: (_, low, high) => (low === high ? [low - 1, high + 1] : [low, high]) }, y: { range } },
    axes: [
      { ...axis, label: "step", size: 30, space: 60, grid: { show: false }, values: (_, ticks) => ticks.map((t) => (Number.isInteger(t) ? t.toLocaleString("en") : "")) },
      { ...axis, label: chart.y_label, size: 52, values: (_, ticks) => ticks.map((t) => number(t)) },
    ],
    legend: { markers: { width: 3, dash: (_, i) => (chart.series[i - 1]?.style === "points" ? "dotted" : borders[(chart.series[i - 1]?.dash ?? 0) % dashes.length]) } },
    cursor: { drag: { x: false, y: false } },
    series: [{ label: "step", value: (u, v) => (v ?? last(u.data[0]) ?? 0).toLocaleString("en") }, ...order.map((i) => series[i])],
    bands,
  };
  place.plot?.destroy();
  place.plot = new uPlot(options, [chart.x, ...order.map((i) => values[i])], place);
  plots.add(place);
}

// shares are stacked: each line is the sum of those up to it
function stacked(chart) {
  if (chart.series[0]?.style !== "share") return chart.series.map((s) => s.values);
  const sums = chart.x.map(() => 0);
  return chart.series.map((s) => s.values.map((v, i) => (sums[i] += v ?? 0)));
}

const redraw = () => [...plots].filter((place) => place.isConnected).forEach(draw);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
