"use strict";
// Where the data comes from: the server, or the data inside a one-file report. Both provide get(name, words).

const inside = document.getElementById("data");
const report = inside && JSON.parse(inside.textContent);

async function get(name, words = new URLSearchParams()) {
  if (report) return fromReport(name, words);
  const reply = await fetch(`/api/${name}?${words}`);
  const found = await reply.json();
  if (!reply.ok) throw new Error(found.error);
  return found;
}

function fromReport(name, words) {
  if (name === "trajectories") return pageOfReport(words);
  if (name === "trajectory") {
    const found = report.trajectories.find((t) => t.n === Number(words.get("n")));
    if (!found) throw new Error("This trajectory is not in the report, which holds only a sample; zerosearch view shows them all.");
    return found;
  }
  return report[name];
}

// what the server's index does, over the sample
function pageOfReport(words) {
  const is = (key, value) => !words.get(key) || words.get(key) === String(value);
  const score = (row) => (row.em == null ? "unscored" : row.em === 1 ? "right" : "wrong");
  const searches = Number(words.get("searches") || 0);
  const text = (words.get("q") || "").toLowerCase();
  const rows = report.rows.filter((row) =>
    is("phase", row.phase) && is("noise", row.drawn) && is("stop", row.stop_reason) && is("score", score(row)) &&
    (!words.get("searches") || (searches < 0 ? row.searches >= -searches : row.searches === searches)) &&
    (!words.get("from") || row.step >= Number(words.get("from"))) && (!words.get("to") || row.step <= Number(words.get("to"))) &&
    `${row.question} ${row.question_id}`.toLowerCase().includes(text));
  const sort = words.get("sort") || "n", sign = words.get("descending") === "1" ? -1 : 1;
  rows.sort((a, b) => (a[sort] == null) - (b[sort] == null) || sign * (a[sort] > b[sort] ? 1 : a[sort] < b[sort] ? -1 : 0) || sign * (a.n - b.n));
  const offset = Number(words.get("offset") || 0);
  return { total: rows.length, offset, rows: rows.slice(offset, offset + Number(words.get("limit") || 50)), facets: report.facets, all: report.all };
}
