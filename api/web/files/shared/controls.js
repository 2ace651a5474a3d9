// Buttons and labelled fields of all pages, and the faults of fields.
import { el, fill, freshId } from "./dom.js";
import { icon } from "./icons.js";
import { prose } from "./notices.js";

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

/** The fault of the number fields in a node, or ""; the browser reads what is no number as empty. */
export function notANumber(node) {
  const isBad = [...node.querySelectorAll("input")].some(({ validity }) => validity.badInput);
  return isBad ? "Enter a number." : "";
}

/** The place for a field's fault. */
export function faultLine() {
  return el("p", { class: "fault", id: freshId("fault"), "aria-live": "polite", hidden: true });
}

/** Show the fault of a control; "" removes it. */
export function markField(input, fault, words) {
  fault.hidden = !words;
  fill(fault, prose(words));
  if (words) {
    input.setAttribute("aria-invalid", "true");
    input.setAttribute("aria-errormessage", fault.id);
  } else input.removeAttribute("aria-invalid");
}
