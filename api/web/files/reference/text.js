// Prose of the document: `code` in backticks, everything else as text.
import { el } from "../shared/dom.js";

/** Return the nodes of a line of prose. */
export function prose(text) {
  return text.split("`").map((piece, index) => (index % 2 ? el("code", {}, piece) : piece));
}
