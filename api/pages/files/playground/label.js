// How a parameter is named and explained.
import { el, freshId } from "../parts/dom.js";

/** A label with what the parameter is about, and the control below; `extra` stands beside the label. */
export function labelled(shape, id, control, extra = null) {
  return el(
    "div",
    { class: "field" },
    el("div", { class: "row apart" }, el("label", { for: id, class: "label" }, shape.title), extra),
    control,
    shape.about && el("p", { class: "about", id: `${id}-about` }, shape.about),
  );
}

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
