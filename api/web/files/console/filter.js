// A filter for a list; each choice goes into the URL at once.
import { field } from "../shared/controls.js";
import { el, fill, freshId } from "../shared/dom.js";
import { title } from "../shared/format.js";
import { parameterOf, prose } from "../shared/notices.js";
import { formatPairs, PAIRS_FAULT, parsePairs } from "./pairs.js";
import { go, link } from "./router.js";

/**
 * Make a form of `fields`: `{name, label, kind: "choice" | "text" | "time" | "pairs", choices, about, list}`;
 * fields with `more` are folded away unless in use. `fits(query)` shows another query, `mark(faults)`
 * shows faults beside their fields, `reword(faults)` returns those of the API in the words of the fields.
 */
export function filterForm(path, fields) {
  const inputs = new Map(fields.map((one) => [one.name, inputOf(one)]));
  const labels = Object.fromEntries(fields.map(({ name, label }) => [name, label]));
  const places = new Map(fields.map((one) => [one.name, placeOf(one, inputs.get(one.name))]));
  const clear = el("a", { class: "button small quiet", href: `#/${path}` }, "Clear");
  const [always, folded] = [fields.filter((one) => !one.more), fields.filter((one) => one.more)];
  const more =
    folded.length > 0 &&
    el(
      "details",
      { class: "more" },
      el("summary", {}, "More filters"),
      el(
        "div",
        { class: "filters" },
        folded.map((one) => places.get(one.name).node),
      ),
    );
  const form = el(
    "form",
    {
      class: "stack tight filter",
      role: "search",
      "aria-label": `Filter ${path}`,
      onchange: apply,
      onsubmit: apply,
    },
    el(
      "div",
      { class: "filters" },
      always.map((one) => places.get(one.name).node),
      el(
        "div",
        { class: "row end" },
        el("button", { class: "button small", type: "submit" }, "Find"),
        clear,
      ),
    ),
    more,
  );
  /** The place that this form itself went to last. */
  let applied = null;

  function apply(event) {
    event.preventDefault();
    const query = {};
    for (const one of fields) Object.assign(query, read(one, inputs.get(one.name)));
    applied = link(path, query);
    go(path, query);
  }

  function fits(query) {
    mark([]);
    if (folded.some((one) => textOf(one, query))) more.open = true;
    // what was typed since stays
    if (link(path, query) === applied) return;
    applied = null;
    for (const one of fields) write(one, inputs.get(one.name), textOf(one, query));
  }

  function mark(faults) {
    for (const place of places.values()) place.mark("");
    for (const { pointer, message } of faults) {
      places.get(fieldOf(pointer))?.mark(`It ${message}.`);
    }
  }

  return { node: form, fits, mark, reword, labels };
}

/** ("/query/metadata.order") → "metadata", the name of the field. */
function fieldOf(pointer) {
  return parameterOf(pointer)?.split(".")[0];
}

function reword(faults) {
  return faults.map(({ pointer, message }) => ({
    pointer,
    message: fieldOf(pointer) === "metadata" ? PAIRS_FAULT : message,
  }));
}

/** A field with the place of its fault. */
function placeOf({ label }, input) {
  const fault = el("p", { class: "fault", id: `${input.id}-fault`, hidden: true });
  const node = el("div", { class: "field" }, field(label, input), fault);

  function mark(text) {
    fault.hidden = !text;
    fill(fault, prose(text));
    if (text) input.setAttribute("aria-invalid", "true");
    else input.removeAttribute("aria-invalid");
    if (text) input.setAttribute("aria-describedby", fault.id);
    else input.removeAttribute("aria-describedby");
  }

  return { node, mark };
}

function inputOf({ name, kind, choices, list, about }) {
  const id = freshId(name);
  if (kind === "choice") {
    const options = choices.map((choice) => el("option", { value: choice }, title(choice)));
    return el("select", { id, name }, el("option", { value: "" }, "Any"), options);
  }
  if (kind === "pairs")
    return el("textarea", {
      id,
      name,
      rows: 2,
      dir: "auto",
      spellcheck: "false",
      placeholder: about,
    });
  if (kind === "time") return el("input", { id, name, type: "datetime-local", step: 1 });
  return el("input", {
    id,
    name,
    type: "search",
    dir: "auto",
    autocomplete: "off",
    spellcheck: "false",
    placeholder: about ?? "",
    list,
  });
}

function read({ name, kind }, input) {
  if (kind === "pairs") return parsePairs(input.value);
  const value = input.value.trim();
  return { [name]: kind === "time" && value ? new Date(value).toISOString() : value };
}

function textOf({ name, kind }, query) {
  return kind === "pairs" ? formatPairs(query) : (query[name] ?? "");
}

function write({ kind }, input, value) {
  input.value = kind === "time" ? localTime(value) : value;
}

/** Convert an API time for a datetime-local input: local time, without a zone. */
export function localTime(value) {
  const at = new Date(value);
  if (!value || Number.isNaN(at.getTime())) return "";
  return new Date(at - at.getTimezoneOffset() * 60_000).toISOString().slice(0, 19);
}
