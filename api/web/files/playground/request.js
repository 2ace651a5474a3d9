// The left half of the page: the request as form, JSON and code, and its buttons.
import { SERVICE } from "../shared/address.js";
import { copy } from "../shared/code.js";
import { button, iconButton } from "../shared/controls.js";
import { el, fill } from "../shared/dom.js";
import { count } from "../shared/format.js";
import { loading, trouble } from "../shared/notices.js";
import { tabs } from "../shared/tabs.js";
import { CodePanel } from "./code_panel.js";
import { estimateText } from "./estimate_text.js";
import { Form, modelField } from "./form.js";
import { JsonPanel } from "./json_panel.js";
import { linkOf } from "./parameters.js";
import { requestEstimate } from "./submit.js";

export class RequestPanel {
  #estimates = 0;

  /**
   * `run(body, variations)` sends the request. Without a key, `needKey(name)` is called with the
   * method to call once there is one.
   */
  constructor(client, parameters, { run, needKey = null }) {
    this.client = client;
    this.parameters = parameters;
    this.run = run;
    this.needKey = needKey;
    this.form = new Form(parameters);
    this.json = new JsonPanel(parameters);
    this.code = new CodePanel();
    this.notices = el("div", { class: "answer", "aria-live": "polite" });
    this.price = el("p", { class: "soft small-text" });
    this.node = this.#build();
    parameters.addEventListener("change", () => this.#show());
    this.#show();
  }

  /** Show why a request was refused: at the visible fields, and the rest next to the buttons. */
  refused(error) {
    const all = error.faults ?? [];
    const homeless = this.form.showFaults(all);
    const faults = this.form.isShown ? homeless : all;
    const marked = faults.length < all.length ? " The faults are marked in the form." : "";
    fill(this.notices, trouble({ ...error, message: error.message + marked, faults }));
    if (!this.node.contains(document.activeElement))
      this.notices.scrollIntoView({ block: "nearest" });
  }

  /** Focus the first field; `select` also selects its text. */
  focus({ select = false } = {}) {
    const first = this.form.node.querySelector("textarea, input");
    first?.focus();
    if (select) first?.select();
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
      el("div", { class: "stack" }, modelField(this.parameters), bar, panels),
      el("div", { class: "press" }, this.notices, el("div", { class: "row" }, this.#buttons())),
    );
  }

  #buttons() {
    const words = el("span", { class: "row" }, "Run", el("kbd", { class: "soft-key" }, "Ctrl ↵"));
    return [
      button(words, null, { type: "submit", kind: "main grow", drawing: "play" }),
      button("Estimate", () => this.estimate(), { drawing: "clock" }),
      iconButton("link", "Copy a link with these parameters", () => this.#copyLink()),
    ];
  }

  #submit(event) {
    event.preventDefault();
    this.submit();
  }

  /** Send the request unless a fault is visible. */
  submit() {
    if (this.#isFit("submit")) this.run(this.parameters.body, this.parameters.variations);
  }

  /** Request an estimate, and show it until the request changes. */
  async estimate() {
    if (!this.#isFit("estimate")) return;
    const { body, variations } = this.parameters;
    this.#estimates += 1;
    const number = this.#estimates;
    fill(this.notices, loading("Estimating…"));
    const answer = await requestEstimate(this.client, body).catch((error) => error);
    if (number !== this.#estimates) return;
    if (answer instanceof Error) this.refused(answer);
    else fill(this.notices, estimateText(answer, variations));
  }

  #isFit(name) {
    this.#clear();
    this.form.mark();
    if (!this.json.isFit) {
      const words = "The JSON is invalid. Correct it, or use the form.";
      fill(this.notices, trouble({ title: "Not sent", message: words }));
      return false;
    }
    const { faults } = this.form;
    if (faults.length) this.refused({ title: "Not sent", message: "", faults });
    else if (this.needKey) this.needKey(name);
    return !faults.length && !this.needKey;
  }

  /** Remove messages about the previous request. */
  #clear() {
    this.#estimates += 1;
    fill(this.notices);
  }

  #copyLink() {
    const { body, variations } = this.parameters;
    copy(`${SERVICE}/${linkOf(body, variations)}`, "Link");
  }

  #show() {
    const { body, variations, model } = this.parameters;
    const credits = model.price && count(model.price.credits * variations, "credit");
    this.price.textContent = credits ? `about ${credits}` : "";
    this.code.show(body, variations);
    this.#clear();
  }
}

function isSend({ key, ctrlKey, metaKey }) {
  return key === "Enter" && (ctrlKey || metaKey);
}
