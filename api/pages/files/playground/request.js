// The left half of the page: what is asked for, as a form, as JSON and as code, and the button.
import { copy } from "../parts/code.js";
import { el, fill } from "../parts/dom.js";
import { icon } from "../parts/icons.js";
import { note, trouble } from "../parts/say.js";
import { tabs } from "../parts/tabs.js";
import { number, seconds } from "../parts/words.js";
import { forecast } from "./asking.js";
import { codePanel } from "./code_panel.js";
import { formOf, modelField } from "./form.js";
import { jsonPanel } from "./json_panel.js";
import { linkOf } from "./parameters.js";

/** Gives {node, refused, noteSeed, focus}; `run(body, variations)` is called by the button. */
export function requestOf(client, parameters, run) {
  const form = formOf(parameters);
  const json = jsonPanel(parameters);
  const code = codePanel();
  const said = el("div", {});
  const price = el("p", { class: "soft small-text" });
  const { bar, panels } = tabs("The request", [
    { name: "form", label: "Form", panel: el("div", {}, form.node) },
    { name: "json", label: "JSON", panel: el("div", {}, json.node) },
    { name: "code", label: "Code", panel: el("div", {}, code.node) },
  ]);
  const ask = el(
    "button",
    { type: "submit", class: "button main grow", title: "Ctrl + Enter" },
    icon("play"),
    "Run",
    el("kbd", { class: "soft-key" }, "Ctrl ↵"),
  );
  const check = el(
    "button",
    { type: "button", class: "button", onclick: estimate },
    icon("clock"),
    "Estimate",
  );
  const link = el(
    "button",
    {
      type: "button",
      class: "button only",
      "aria-label": "Copy a link with these parameters",
      title: "Copy link",
      onclick: () =>
        copy(`${location.origin}/${linkOf(parameters.body, parameters.variations)}`, "Link"),
    },
    icon("link"),
  );
  const node = el(
    "form",
    {
      class: "card request",
      novalidate: true,
      "aria-labelledby": "request-head",
      onsubmit: submit,
      onkeydown: (event) =>
        event.key === "Enter" && (event.ctrlKey || event.metaKey) && submit(event),
    },
    el("header", {}, el("h2", { id: "request-head", class: "grow" }, "Input"), price),
    el("div", { class: "stack" }, modelField(parameters), bar, panels, said),
    el("div", { class: "row press" }, ask, check, link),
  );

  function submit(event) {
    event.preventDefault();
    fill(said);
    if (json.isFit) run(parameters.body, parameters.variations);
    else
      fill(said, note("bad", "The JSON cannot be read yet. Put it right, or go on in the form."));
  }

  async function estimate() {
    fill(said);
    try {
      fill(said, forecastWords(await forecast(client, parameters.body), parameters.variations));
    } catch (error) {
      fill(said, trouble({ ...error, message: error.message, faults: refused(error) }));
    }
  }

  /** Shows the faults of a refused request at their fields; gives those that have none. */
  function refused(error) {
    return form.showFaults(error.faults ?? []);
  }

  function show() {
    const each = parameters.model.price;
    price.textContent = each ? `about ${number(each.credits * parameters.variations)} credits` : "";
    code.show(parameters.body, parameters.variations);
  }

  parameters.addEventListener("change", show);
  show();
  return {
    node,
    refused,
    noteSeed: form.noteSeed,
    focus: () => node.querySelector("textarea, input")?.focus(),
  };
}

function forecastWords(told, variations) {
  if (!told.would_accept)
    return note(
      "wait",
      el("strong", {}, "It would be refused now"),
      el("p", {}, told.refusal.detail),
    );
  const credits = told.price
    ? `about ${number(told.price.credits * variations)} credits, by the operator's table of prices`
    : "the operator has named no price";
  const begin =
    told.eta_seconds === null
      ? "when it is begun cannot be told now"
      : `begun in about ${seconds(told.eta_seconds)}`;
  const reused = told.reused_from ? ` It would be a copy of ${told.reused_from}.` : "";
  return note(
    "good",
    el("strong", {}, "It would be accepted"),
    el("p", {}, `Cost: ${credits}. Queue: ${told.position ?? 0} before it, ${begin}.${reused}`),
  );
}
