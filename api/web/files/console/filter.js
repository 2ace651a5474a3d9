// A filter for a list; each choice goes into the URL at once.
import { field } from "../shared/controls.js";
import { el, freshId } from "../shared/dom.js";
import { title } from "../shared/format.js";
import { go } from "./router.js";

/**
 * Make a form of `fields`: `{name, label, kind: "choice" | "text" | "time" | "pair", choices, about, list}`;
 * fields with `more` are folded away unless in use. `fits(query)` shows another query.
 */
export function filterForm(path, fields) {
  const inputs = new Map(fields.map((one) => [one.name, inputOf(one)]));
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
        folded.map((one) => field(one.label, inputs.get(one.name))),
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
      always.map((one) => field(one.label, inputs.get(one.name))),
      el(
        "div",
        { class: "row end" },
        el("button", { class: "button small", type: "submit" }, "Find"),
        clear,
      ),
    ),
    more,
  );

  function apply(event) {
    event.preventDefault();
    const query = {};
    for (const one of fields) Object.assign(query, read(one, inputs.get(one.name)));
    go(path, query);
  }

  function fits(query) {
    for (const one of fields) write(one, inputs.get(one.name), textOf(one, query));
    if (folded.some((one) => textOf(one, query))) more.open = true;
  }

  return { node: form, fits };
}

function inputOf({ name, kind, choices, list, about }) {
  const id = freshId(name);
  if (kind === "choice") {
    const options = choices.map((choice) => el("option", { value: choice }, title(choice)));
    return el("select", { id, name }, el("option", { value: "" }, "Any"), options);
  }
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
  const value = input.value.trim();
  if (kind === "pair") return pairOf(name, value);
  return { [name]: kind === "time" && value ? new Date(value).toISOString() : value };
}

/** Read `order=A-17` as `{"metadata.order": "A-17"}`; the API refuses other text. */
function pairOf(name, text) {
  const [key, ...value] = text.split("=");
  return value.length ? { [`${name}.${key}`]: value.join("=") } : { [name]: text };
}

function textOf({ name, kind }, query) {
  const pair = kind === "pair" && Object.keys(query).find((key) => key.startsWith(`${name}.`));
  return pair ? `${pair.slice(name.length + 1)}=${query[pair]}` : (query[name] ?? "");
}

function write({ kind }, input, value) {
  if (input === document.activeElement && kind === "text" && input.value.trim() === value) return;
  input.value = kind === "time" ? localTime(value) : value;
}

/** Convert an API time for a datetime-local input: local time, without a zone. */
export function localTime(value) {
  const at = new Date(value);
  if (!value || Number.isNaN(at.getTime())) return "";
  return new Date(at - at.getTimezoneOffset() * 60_000).toISOString().slice(0, 19);
}
