// Buttons and labelled fields of all pages.
import { el, freshId } from "./dom.js";
import { icon } from "./icons.js";

/**
 * A button. `kind` holds its CSS classes besides "button" ("main", "bad", "small", …), `drawing` an icon
 * before the text; everything else becomes an attribute.
 */
export function button(words, act, { kind = "", drawing = null, ...attributes } = {}) {
  return el(
    "button",
    { type: "button", class: `button ${kind}`, onclick: act, ...attributes },
    drawing && icon(drawing),
    words,
  );
}

/** A button with only an icon; `label` is its accessible name. */
export function iconButton(drawing, label, act, { kind = "", ...attributes } = {}) {
  return button("", act, {
    kind: `only ${kind}`,
    drawing,
    "aria-label": label,
    title: label,
    ...attributes,
  });
}

/** A labelled control; `about` is its description, `beside` stands next to the label. */
export function field(label, control, { about = "", beside = null } = {}) {
  control.id ||= freshId("field");
  const description = about && el("p", { class: "about", id: `${control.id}-about` }, about);
  if (description) control.setAttribute("aria-describedby", description.id);
  const words = el("label", { for: control.id, class: "label" }, label);
  return el(
    "div",
    { class: "field" },
    beside ? el("div", { class: "row apart" }, words, beside) : words,
    control,
    description,
  );
}
