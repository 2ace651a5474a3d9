// Create elements. Strings become text nodes; nothing here parses HTML.

const SVG = "http://www.w3.org/2000/svg";
/** Set as properties, because the attributes hold only the initial value. */
const PROPERTIES = new Set([
  "value",
  "checked",
  "disabled",
  "selected",
  "hidden",
  "open",
  "indeterminate",
]);

/**
 * Create an element: `el("p", {class: "soft", onclick: act}, "Hello ", name)`.
 * `on…` adds a listener, `style` takes an object, `data` fills the dataset; null and false are
 * left out, also among the children.
 */
export function el(name, attributes = {}, ...children) {
  return dress(document.createElement(name), attributes, children);
}

/** Create an SVG element. */
export function svg(name, attributes = {}, ...children) {
  return dress(document.createElementNS(SVG, name), attributes, children);
}

function dress(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) setAttribute(node, name, value);
  node.append(...children.flat(Infinity).filter(isThere));
  return node;
}

function isThere(child) {
  return child !== null && child !== undefined && child !== false && child !== "";
}

function setAttribute(node, name, value) {
  if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
  else if (name === "style")
    for (const [one, to] of Object.entries(value)) node.style.setProperty(one, to);
  else if (name === "data") Object.assign(node.dataset, value);
  else if (PROPERTIES.has(name)) node[name] = value;
  else if (name.startsWith("aria-")) {
    if (value !== null && value !== undefined) node.setAttribute(name, String(value));
  } else if (value === true) node.setAttribute(name, "");
  else if (value !== false && value !== null && value !== undefined) node.setAttribute(name, value);
}

/** Replace the children of a node. */
export function fill(node, ...children) {
  node.replaceChildren(...children.flat(Infinity).filter(isThere));
  return node;
}

let made = 0;

/** Return a unique element id. */
export function freshId(word = "x") {
  made += 1;
  return `${word}-${made}`;
}

/** Debounce: call `act` once no call came for the given time. */
export function later(milliseconds, act) {
  let timer = 0;
  return (...given) => {
    clearTimeout(timer);
    timer = setTimeout(() => act(...given), milliseconds);
  };
}
