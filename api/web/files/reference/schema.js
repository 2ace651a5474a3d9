// A schema as a list of its members; nested members expand on demand.
import { el } from "../shared/dom.js";
import { nameOf, resolved, typeWords } from "./document.js";
import { prose } from "./text.js";

/** Show a schema; nested shapes are built when opened. */
export function schemaOf(document, schema) {
  const shape = membersOf(document, schema);
  if (!shape) return el("p", { class: "small-text" }, typeWords(document, schema));
  const required = new Set(shape.required ?? []);
  return el(
    "dl",
    { class: "schema" },
    Object.entries(shape.properties).map(([name, one]) =>
      memberOf(document, name, one, required.has(name)),
    ),
  );
}

/** The object schema behind lists and choices; null if there is none. */
function membersOf(document, schema) {
  const whole = resolved(document, schema);
  if (whole.properties) return whole;
  const inside = [whole.items, ...(whole.anyOf ?? whole.oneOf ?? whole.allOf ?? [])].filter(
    Boolean,
  );
  for (const one of inside) {
    const found = membersOf(document, one);
    if (found) return found;
  }
  return null;
}

function memberOf(document, name, schema, isRequired) {
  const whole = resolved(document, schema);
  const value =
    whole.default === undefined || whole.default === null
      ? ""
      : `, ${JSON.stringify(whole.default)} by default`;
  return [
    el(
      "dt",
      {},
      el("code", {}, name),
      isRequired && el("span", { class: "must", title: "required" }, "required"),
    ),
    el(
      "dd",
      {},
      el("span", { class: "soft" }, typeWords(document, schema) + value),
      whole.description && el("span", { class: "about" }, prose(whole.description)),
      membersOf(document, schema) &&
        opened(nameOf(schema) || "members", () => schemaOf(document, schema)),
    ),
  ];
}

/** A part that is built when first opened. */
export function opened(words, make) {
  const details = el("details", {}, el("summary", {}, words));
  details.addEventListener("toggle", () => details.append(make()), { once: true });
  return details;
}
