// Radio buttons for a parameter with few values.
import { el, freshId } from "../shared/dom.js";

/** A group of radio buttons with its legend. */
export function groupOf(shape, inside) {
  const id = freshId("group");
  return el(
    "fieldset",
    { class: "field", "aria-describedby": id },
    el("legend", {}, shape.title),
    inside,
    shape.about && el("p", { class: "about", id }, shape.about),
  );
}
