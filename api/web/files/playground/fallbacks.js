// The models that may serve the job instead of the selected one, chosen in order.
import { faultLine } from "../shared/controls.js";
import { el, fill } from "../shared/dom.js";
import { markGroup } from "./fields.js";
import { groupOf } from "./group.js";

/** The most fallback models of a request. */
const MOST = 3;
const SHAPE = {
  title: "Fallback models",
  about: `Models that serve the job while the selected one is removed, paused or failing: up to ${MOST}, in the order in which you select them. Only models with all of these parameters are listed.`,
};

export class FallbackField {
  #options = [];
  #model = null;

  constructor(parameters) {
    this.parameters = parameters;
    this.choices = el("div", { class: "choices" });
    this.fault = faultLine();
    this.node = groupOf(SHAPE, this.choices);
    this.node.append(this.fault);
    parameters.addEventListener("change", () => this.#show());
    this.#show();
  }

  showFault(words) {
    markGroup(this.node, this.fault, words);
  }

  #show() {
    if (this.#model !== this.parameters.modelId) this.#build();
    const { fallbacks } = this.parameters;
    for (const { model, label, input, words } of this.#options) {
      const at = fallbacks.indexOf(model.id);
      input.checked = at >= 0;
      input.disabled = at < 0 && fallbacks.length >= MOST;
      words.textContent = at >= 0 && fallbacks.length > 1 ? `${at + 1}. ${model.name}` : model.name;
      label.hidden = at < 0 && !this.#accepts(model);
    }
    this.node.hidden = this.#options.every(({ label }) => label.hidden);
  }

  #build() {
    this.#model = this.parameters.modelId;
    const others = this.parameters.models.filter(({ id }) => id !== this.#model);
    this.#options = others.map((model) => this.#option(model));
    fill(
      this.choices,
      this.#options.map(({ label }) => label),
    );
  }

  #option(model) {
    const input = el("input", {
      type: "checkbox",
      value: model.id,
      onchange: () => this.#toggle(model.id),
    });
    const words = el("span");
    return { model, input, words, label: el("label", { class: "choice" }, input, words) };
  }

  #toggle(id) {
    const { fallbacks } = this.parameters;
    const rest = fallbacks.filter((one) => one !== id);
    this.parameters.changeFallbacks(rest.length < fallbacks.length ? rest : [...rest, id], "form");
  }

  /** Whether a model has all parameters of the request, which must be valid for every model. */
  #accepts({ input_schema: { properties } }) {
    return Object.keys(this.parameters.input).every((name) => name in properties);
  }
}
