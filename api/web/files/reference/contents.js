// The operations by tag: navigation, sections, and search.
import { el } from "../shared/dom.js";
import { title } from "../shared/format.js";

/** Tags with a spelling of their own. */
const NAMES = { openai: "OpenAI" };

/** The list of tags; `tags` are `{tag, operations, entries}` with the entries on the page. */
export function contentsOf(tags) {
  const search = el("input", {
    type: "search",
    "aria-label": "Find an operation",
    placeholder: "Find…",
    oninput: () => find(tags, search.value),
  });
  return el(
    "nav",
    { class: "contents", "aria-label": "Operations" },
    search,
    el("ul", {}, tags.map(itemOf)),
  );
}

/** The operations of one tag. */
export function sectionOf({ tag, entries }) {
  const head = el("h2", { id: `tag-${tag}` }, nameOf(tag));
  return el(
    "section",
    { class: "card tag-section", "aria-labelledby": head.id },
    head,
    el("div", { class: "operations" }, entries),
  );
}

function itemOf({ tag, operations }) {
  const link = el("a", { href: `#tag-${tag}` }, nameOf(tag));
  return el("li", {}, link, el("span", { class: "soft small-text" }, ` ${operations.length}`));
}

function nameOf(tag) {
  return NAMES[tag] ?? title(tag);
}

/** Show only the operations that contain every word. */
function find(tags, text) {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  for (const { operations, entries } of tags) {
    for (const [at, { method, path, brief, id }] of operations.entries()) {
      const all = `${method} ${path} ${brief} ${id}`.toLowerCase();
      entries[at].hidden = !words.every((word) => all.includes(word));
    }
    entries[0].closest("section").hidden = entries.every(({ hidden }) => hidden);
  }
}
