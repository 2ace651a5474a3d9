// The left half of the page: what is asked for, as a form, as JSON and as code, and the button.
import { SERVICE } from "../shared/address.js";
import { copy } from "../shared/code.js";
import { button, iconButton } from "../shared/controls.js";
import { el, fill } from "../shared/dom.js";
import { number } from "../shared/format.js";
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
   * `run(body, variations)` is called by the button. Without a key `needKey(name)` is, with the
   * method that is to be called once there is one.
   */
  constructor(client, parameters, { run, needKey = null }) {
    this.client = client;
    this.parameters = parameters;
    this.run = run;
    this.needKey = needKey;
    this.form = new Form(parameters);
    this.json = new JsonPanel(parameters);
    this.code = new CodePanel();
    this.said = el("div", { class: "answer", "aria-live": "polite" });
    this.price = el("p", { class: "soft small-text" });
    this.node = this.#build();
    parameters.addEventListener("change", () => this.#show());
    this.#show();
  }

  /** Says why a request was refused: at the fields where they are seen, the rest by the buttons. */
  refused(error) {
    const all = error.faults ?? [];
    const homeless = this.form.showFaults(all);
    const faults = this.form.isShown ? homeless : all;
    const marked = faults.length < all.length ? " The faults are marked in the form." : "";
    fill(this.said, trouble({ ...error, message: error.message + marked, faults }));
    if (!this.node.contains(document.activeElement)) this.said.scrollIntoView({ block: "nearest" });
  }

  /** Goes to the first field; `select` lets the next word typed replace what is there. */
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
      el("div", { class: "press" }, this.said, el("div", { class: "row" }, this.#buttons())),
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

  /** Has what is asked for made, unless something is seen to be wrong with it. */
  submit() {
    if (this.#isFit("submit")) this.run(this.parameters.body, this.parameters.variations);
  }

  /** Asks what it would cost, and shows the answer until the request is another. */
  async estimate() {
    if (!this.#isFit("estimate")) return;
    const { body, variations } = this.parameters;
    this.#estimates += 1;
    const number = this.#estimates;
    fill(this.said, loading("Estimating…"));
    const answer = await requestEstimate(this.client, body).catch((error) => error);
    if (number !== this.#estimates) return;
    if (answer instanceof Error) this.refused(answer);
    else fill(this.said, estimateText(answer, variations));
  }

  #isFit(name) {
    this.#clear();
    this.form.mark();
    if (!this.json.isFit) {
      const words = "The JSON is invalid. Correct it, or use the form.";
      fill(this.said, trouble({ title: "Not sent", message: words }));
      return false;
    }
    const { faults } = this.form;
    if (faults.length) this.refused({ title: "Not sent", message: "", faults });
    else if (this.needKey) this.needKey(name);
    return !faults.length && !this.needKey;
  }

  /** Takes back what was said: it was about another request. */
  #clear() {
    this.#estimates += 1;
    fill(this.said);
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
    this.#clear();
  }
}

function isSend({ key, ctrlKey, metaKey }) {
  return key === "Enter" && (ctrlKey || metaKey);
}
