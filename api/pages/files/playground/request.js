// The left half of the page: what is asked for, as a form, as JSON and as code, and the button.
import { SERVICE } from "../parts/address.js";
import { copy } from "../parts/code.js";
import { button, iconButton } from "../parts/controls.js";
import { el, fill } from "../parts/dom.js";
import { note, trouble } from "../parts/say.js";
import { tabs } from "../parts/tabs.js";
import { number } from "../parts/words.js";
import { forecast } from "./asking.js";
import { CodePanel } from "./code_panel.js";
import { forecastWords } from "./forecast_words.js";
import { Form, modelField } from "./form.js";
import { JsonPanel } from "./json_panel.js";
import { linkOf } from "./parameters.js";

export class RequestPanel {
  /** `run(body, variations)` is called by the button. */
  constructor(client, parameters, run) {
    this.client = client;
    this.parameters = parameters;
    this.run = run;
    this.form = new Form(parameters);
    this.json = new JsonPanel(parameters);
    this.code = new CodePanel();
    this.said = el("div", {});
    this.price = el("p", { class: "soft small-text" });
    this.node = this.#build();
    parameters.addEventListener("change", () => this.#show());
    this.#show();
  }

  /** Shows the faults of a refused request at their fields; gives those that have none. */
  refused(error) {
    return this.form.showFaults(error.faults ?? []);
  }

  focus() {
    this.form.node.querySelector("textarea, input")?.focus();
  }

  #build() {
    const { bar, panels } = tabs("The request", [
      { name: "form", label: "Form", panel: el("div", {}, this.form.node) },
      { name: "json", label: "JSON", panel: el("div", {}, this.json.node) },
      { name: "code", label: "Code", panel: el("div", {}, this.code.node) },
    ]);
    const head = el("h2", { id: "request-head", class: "grow" }, "Input");
    return el(
      "form",
      {
        class: "card request",
        novalidate: true,
        "aria-labelledby": head.id,
        onsubmit: (event) => this.#submit(event),
        onkeydown: (event) => isSend(event) && this.#submit(event),
      },
      el("header", {}, head, this.price),
      el("div", { class: "stack" }, modelField(this.parameters), bar, panels, this.said),
      el("div", { class: "row press" }, this.#buttons()),
    );
  }

  #buttons() {
    const words = el("span", { class: "row" }, "Run", el("kbd", { class: "soft-key" }, "Ctrl ↵"));
    return [
      button(words, null, { type: "submit", kind: "main grow", drawing: "play" }),
      button("Estimate", () => this.#estimate(), { drawing: "clock" }),
      iconButton("link", "Copy a link with these parameters", () => this.#copyLink()),
    ];
  }

  #submit(event) {
    event.preventDefault();
    fill(this.said);
    if (this.json.isFit) return this.run(this.parameters.body, this.parameters.variations);
    const words = "The JSON cannot be read yet. Put it right, or go on in the form.";
    return fill(this.said, note("bad", words));
  }

  async #estimate() {
    const { body, variations } = this.parameters;
    try {
      fill(this.said, forecastWords(await forecast(this.client, body), variations));
    } catch (error) {
      const faults = this.refused(error);
      fill(this.said, trouble({ ...error, message: error.message, faults }));
    }
  }

  #copyLink() {
    const { body, variations } = this.parameters;
    copy(`${SERVICE}/${linkOf(body, variations)}`, "Link");
  }

  #show() {
    const { body, variations, model } = this.parameters;
    const credits = model.price && number(model.price.credits * variations);
    this.price.textContent = credits ? `about ${credits} credits` : "";
    this.code.show(body, variations);
  }
}

function isSend({ key, ctrlKey, metaKey }) {
  return key === "Enter" && (ctrlKey || metaKey);
}
