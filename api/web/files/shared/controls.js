// Buttons and labelled fields, as every page has them.
import { el, freshId } from "./dom.js";
import { icon } from "./icons.js";

/**
 * A button. `kind` is its classes beside "button" ("main", "bad", "small", …), `drawing` an icon before
 * the words; all else are attributes.
 */
export function button(words, act, { kind = "", drawing = null, ...attributes } = {}) {
  return el(
    "button",
    { type: "button", class: `button ${kind}`, onclick: act, ...attributes },
    drawing && icon(drawing),
    words,
  );
}

/** A button that is only a drawing; `label` is what it says to whoever does not see it. */
export function iconButton(drawing, label, act, { kind = "", ...attributes } = {}) {
  return button("", act, {
    kind: `only ${kind}`,
    drawing,
    "aria-label": label,
    title: label,
    ...attributes,
  });
}

/** A control under its label; `about` explains it, `beside` stands at the label's side. */
export function field(label, control, { about = "", beside = null } = {}) {
  control.id ||= freshId("field");
  const told = about && el("p", { class: "about", id: `${control.id}-about` }, about);
  if (told) control.setAttribute("aria-describedby", told.id);
  const words = el("label", { for: control.id, class: "label" }, label);
  return el(
    "div",
    { class: "field" },
    beside ? el("div", { class: "row apart" }, words, beside) : words,
    control,
    told,
  );
}
