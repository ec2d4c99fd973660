"use strict";

// Elements and texts. Everything from outside goes through textContent or an attribute's property: nothing here parses markup, and the
// page's policy would refuse it.

const SVG = "http://www.w3.org/2000/svg";

function byId(id) {
  return document.getElementById(id);
}

// An active budget; some SAEs have none.
function budget(k) {
  return k === null ? "\u2013" : String(k);
}

// What tells an SAE from others of its layer and k, where there are others.
function twin(sae) {
  return sae.twin ? " " + visible(sae.twin) : "";
}

function add(node, children) {
  for (const child of children.flat()) {
    if (child === null || child === undefined || child === false) continue;
    node.append(child);
  }
  return node;
}

// An element with properties (`className`, `title`, …; `aria-…`, `role`, `colspan` as attributes) and children.
function el(tag, properties, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(properties || {})) {
    if (value === null || value === undefined) continue;
    if (name in node && !name.startsWith("aria")) node[name] = value;
    else node.setAttribute(name, value);
  }
  return add(node, children);
}

function svg(tag, attributes, ...children) {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes || {})) node.setAttribute(name, value);
  return add(node, children);
}

// What cannot be seen, or changes the direction of writing, is shown by its code.
const UNSEEN = /[\u0000-\u001f\u007f-\u009f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]/g;

function visible(text) {
  return text.replace(UNSEEN, (c) => {
    if (c === "\n") return "\u21b5";
    if (c === "\t") return "\u21e5";
    return "\\u" + c.charCodeAt(0).toString(16).padStart(4, "0");
  });
}

// A token on its own: one of spaces alone is seen too.
function named(token) {
  return visible(token.trim() ? token : token.replaceAll(" ", "\u2423"));
}

function plural(n, one, many) {
  return n.toLocaleString("en") + " " + (n === 1 ? one : many);
}

function fixed(x, n) {
  return x === null || x === undefined ? "\u2013" : x.toFixed(n).replace("-", "\u2212");
}

// Three significant digits, small and large alike.
function short(x) {
  if (x === null || x === undefined) return "\u2013";
  if (x === 0) return "0";
  const size = Math.abs(x);
  return size >= 1e5 || size < 1e-3 ? x.toExponential(1) : String(Number(x.toPrecision(3)));
}

// A share of positions, in percent.
function percent(x) {
  const p = 100 * x;
  if (p === 0) return "0";
  return p >= 10 ? p.toFixed(1) : p >= 0.01 ? p.toFixed(2) : p.toExponential(0);
}
