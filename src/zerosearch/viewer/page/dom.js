"use strict";
// Elements from names, attributes and children. Text only ever becomes a text node: nothing a model wrote is read as markup.

function el(name, attributes = {}, ...children) {
  const node = name === "svg" || attributes.svg ? document.createElementNS("http://www.w3.org/2000/svg", name) : document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value == null || value === false || key === "svg") continue;
    if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else if (key === "value") node.value = value;
    else node.setAttribute(key, value === true ? "" : value);
  }
  node.append(...children.flat(Infinity).filter((child) => child != null && child !== false));
  return node;
}

function number(value, digits = 3) {
  if (value == null) return "–";
  return Math.abs(value) >= 1000 ? Math.round(value).toLocaleString("en") : String(Number(value.toPrecision(digits))).replace("-", "−");
}

const signed = (value) => (value == null ? "–" : (value > 0 ? "+" : "") + number(value));
const count = (n, word) => `${n.toLocaleString("en")} ${word}${n === 1 ? "" : "s"}`;

// pieces are [text, "tag" | "gold" | ""]
function marked(pieces) {
  return pieces.map(([text, kind]) => (kind === "gold" ? el("mark", {}, text) : kind === "tag" ? el("span", { class: "tag" }, text) : text));
}

// ---- the address: #page?name=value&name=value

function address() {
  const [page, words] = location.hash.replace(/^#\/?/, "").split("?");
  return { page: page || "overview", words: new URLSearchParams(words || "") };
}

function link(page, words = {}) {
  const search = words instanceof URLSearchParams ? words : new URLSearchParams();
  if (search !== words) for (const [key, value] of Object.entries(words)) for (const one of [value].flat()) if (one != null && one !== "") search.append(key, one);
  return `#/${page}${search.size ? `?${search}` : ""}`;
}

// the same page with some words changed, without a new entry in the history
function amend(changes) {
  const { page, words } = address();
  for (const [key, value] of Object.entries(changes)) {
    words.delete(key);
    if (value != null && value !== "") words.set(key, value);
  }
  history.replaceState(null, "", link(page, words));
  if (page === "trajectories") lastTable = location.hash; // where Esc leads back to
}
