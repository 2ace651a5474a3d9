// Prose of the document: `code` between backticks, all else as it is.
import { el } from "../shared/dom.js";

/** Gives the pieces of a line of prose. */
export function prose(text) {
  return text.split("`").map((piece, index) => (index % 2 ? el("code", {}, piece) : piece));
}
