"use strict";
// Draws the charts described in #chart-data with uPlot; draws them again when the width or the colour scheme changes.
(() => {
  const charts = new Map(JSON.parse(document.getElementById("chart-data").textContent).map((chart) => [chart.id, chart]));
  const dashes = [[], [7, 4], [2, 3], [10, 3, 2, 3]];
  const borders = ["solid", "dashed", "dotted", "dashed"]; // the legend's version of the dashes
  const height = 240;
  const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const last = (values) => values.findLast((value) => value != null);
  const number = (value) => (value == null ? "–" : Number(value.toPrecision(3)).toLocaleString("en"));

  function series({ label, style, colour }) {
    const stroke = css(`--series-${colour % 6}`);
    const common = { label, spanGaps: true, value: (u, v, i) => number(v ?? (u.cursor.idx == null ? last(u.data[i]) : null)), points: { show: false } };
    switch (style) {
      case "line": {
        const points = { size: 5, fill: stroke, show: (u, i) => u.data[i].filter((v) => v != null).length <= 30 };
        return { ...common, stroke, width: 2, dash: dashes[colour % dashes.length], points };
      }
      case "faint": return { ...common, stroke: stroke + "59", width: 1, class: "unlisted" };
      case "points": return { ...common, stroke, paths: () => null, points: { show: true, size: 5, fill: css("--card"), width: 1.5 } };
      default: return { ...common, stroke: "transparent", width: 0, class: "unlisted" };
    }
  }

  // shade between the low and the high bound of the same colour
  function bands(list) {
    return list.flatMap(({ style, colour }, i) => {
      if (style !== "high") return [];
      const low = list.findIndex((other) => other.style === "low" && other.colour === colour);
      return low < 0 ? [] : [{ series: [i + 1, low + 1], fill: css(`--series-${colour % 6}`) + "29" }];
    });
  }

  function range(_, low, high) {
    if (low == null) return [0, 1];
    const bottom = Math.min(0, low);
    return [bottom * 1.05, high > bottom ? high + (high - bottom) * 0.06 : bottom + 1];
  }

  function draw(element) {
    const chart = charts.get(element.dataset.chart);
    const axis = { stroke: css("--muted"), font: "12px system-ui, sans-serif", labelFont: "12px system-ui, sans-serif", labelSize: 20,
      grid: { stroke: css("--line"), width: 1 }, ticks: { show: false } };
    const options = {
      width: element.clientWidth, height,
      scales: { x: { time: false, range: (_, low, high) => (low === high ? [low - 1, high + 1] : [low, high]) }, y: { range } },
      axes: [
        { ...axis, label: "step", size: 30, space: 60, grid: { show: false }, values: (_, ticks) => ticks.map((t) => (Number.isInteger(t) ? t.toLocaleString("en") : "")) },
        { ...axis, label: chart.y_label, size: 48, values: (_, ticks) => ticks.map(number) },
      ],
      legend: { markers: { width: 3, dash: (_, i) => (chart.series[i - 1]?.style === "points" ? "dotted" : borders[(chart.series[i - 1]?.colour ?? 0) % dashes.length]) } },
      cursor: { drag: { x: false, y: false } },
      series: [{ label: "step", value: (u, v) => (v ?? last(u.data[0])).toLocaleString("en") }, ...chart.series.map(series)],
      bands: bands(chart.series),
    };
    element.plot?.destroy();
    element.plot = new uPlot(options, [chart.x, ...chart.series.map((s) => s.values)], element);
  }

  const elements = [...document.querySelectorAll(".chart")];
  const fit = (element) => {
    if (!element.clientWidth) return; // inside a closed <details>
    if (element.plot) element.plot.setSize({ width: element.clientWidth, height });
    else draw(element);
  };
  // in the next frame: drawing changes sizes, which an observer must not do
  const observer = new ResizeObserver((entries) => requestAnimationFrame(() => entries.forEach(({ target }) => fit(target))));
  elements.forEach((element) => {
    fit(element);
    observer.observe(element);
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => elements.filter((e) => e.plot).forEach(draw));
})();
