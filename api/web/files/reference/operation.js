// One operation: parameters, responses, and a form that runs it.
import { el } from "../shared/dom.js";
import { Attempt } from "./attempt.js";
import { typeWords } from "./document.js";
import { opened, schemaOf } from "./schema.js";
import { prose } from "./text.js";

/** Return a collapsed entry; its content is built when it is opened. */
export function operationOf(operation, reader) {
  const { id, method, path, brief } = operation;
  const entry = el(
    "details",
    { class: "operation", id },
    el(
      "summary",
      {},
      el("span", { class: `method ${method.toLowerCase()}` }, method),
      el("code", { class: "path" }, path),
      el("span", { class: "soft brief" }, prose(brief)),
    ),
  );
  entry.addEventListener("toggle", () => entry.append(insideOf(operation, reader)), { once: true });
  entry.addEventListener("toggle", () => entry.open && history.replaceState(null, "", `#${id}`));
  return entry;
}

function insideOf(operation, reader) {
  const { document } = reader;
  return el(
    "div",
    { class: "inside stack" },
    el("p", { class: "brief-again" }, prose(operation.brief)),
    operation.more.map((text) => el("p", {}, prose(text))),
    el("p", { class: "small-text soft" }, keyWords(operation.scopes)),
    operation.parameters.length > 0 && [
      el("h4", {}, "Parameters"),
      parametersOf(document, operation.parameters),
    ],
    operation.bodies.map(({ media, schema }) => [
      el("h4", {}, "Body, ", el("code", {}, media)),
      schemaOf(document, schema),
    ]),
    el("h4", {}, "Run it"),
    new Attempt(operation, reader).node,
    el("h4", {}, "Answers"),
    el(
      "dl",
      { class: "schema" },
      operation.answers.map((answer) => answered(document, answer)),
    ),
  );
}

function keyWords(scopes) {
  return scopes.length
    ? ["Needs a key with the scope ", el("code", {}, [...new Set(scopes)].join(", ")), "."]
    : "Needs no key.";
}

function parametersOf(document, parameters) {
  return el(
    "dl",
    { class: "schema" },
    parameters.map(({ name, in: place, required, description, schema = {} }) => [
      el("dt", {}, el("code", {}, name), required && el("span", { class: "must" }, "required")),
      el(
        "dd",
        {},
        el("span", { class: "soft" }, `in the ${place}; ${typeWords(document, schema)}`),
        description && el("span", { class: "about" }, prose(description)),
      ),
    ]),
  );
}

function answered(document, { status, description, content = {} }) {
  const [[media, { schema } = {}] = []] = Object.entries(content);
  return [
    el("dt", {}, el("span", { class: `badge ${status < 400 ? "good" : "bad"}` }, status)),
    el(
      "dd",
      {},
      el("span", { class: "about" }, prose(description ?? "")),
      schema &&
        status < 400 &&
        opened(`${media}: ${typeWords(document, schema)}`, () => schemaOf(document, schema)),
    ),
  ];
}
