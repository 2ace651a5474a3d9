// The form, built from the model's JSON Schema, so that a new model needs no change here.
import { faultLine, field, markField } from "../shared/controls.js";
import { el, fill } from "../shared/dom.js";
import { FallbackField } from "./fallbacks.js";
import { fieldOf } from "./fields.js";
import { VARIATIONS_MOST } from "./parameters.js";

export class Form {
  #fields = [];
  #model = null;

  /** Show `parameters`, and change them as the reader types. */
  constructor(parameters) {
    this.parameters = parameters;
    this.place = el("div", { class: "stack" });
    this.variations = el("input", {
      type: "number",
      class: "short",
      min: 1,
      max: VARIATIONS_MOST,
      step: 1,
      oninput: () => this.#takeVariations(),
    });
    this.tags = el("input", {
      placeholder: "catalogue, spring",
      dir: "auto",
      oninput: () => this.#takeTags(),
    });
    this.fallbacks = new FallbackField(parameters);
    this.fault = faultLine();
    this.node = el(
      "div",
      { class: "stack" },
      this.place,
      this.#variationsField(),
      this.#tagsField(),
      this.fallbacks.node,
    );
    parameters.addEventListener("change", ({ detail }) => detail !== "form" && this.show());
    this.show();
  }

  show() {
    if (this.#model !== this.parameters.modelId) this.#build();
    for (const one of this.#fields) one.write(this.parameters.input[one.shape.name]);
    this.variations.value = this.parameters.variations;
    this.tags.value = this.parameters.tags.join(", ");
    this.mark();
  }

  /** Faults found before sending, in the form of the API's faults. */
  get faults() {
    const found = this.#fields.map((one) => [`/input/${one.shape.name}`, one.faultNow()]);
    const all = [...found, ["/variations", this.#variationsFault]];
    return all.filter(([, message]) => message).map(([pointer, message]) => ({ pointer, message }));
  }

  /** Show faults at their fields; return those without a field. */
  mark(faults = this.faults) {
    const homeless = new Set(faults);
    const ownOf = (...pointers) => {
      const own = faults.filter((fault) => pointers.includes(fault.pointer));
      for (const fault of own) homeless.delete(fault);
      return own.map(({ message }) => message).join("; ");
    };
    for (const one of this.#fields) one.showFault(ownOf(`/input/${one.shape.name}`));
    markField(this.variations, this.fault, ownOf("/variations"));
    const places = this.parameters.fallbacks.map((_, at) => `/fallback_models/${at}`);
    this.fallbacks.showFault(ownOf("/fallback_models", ...places));
    return [...homeless];
  }

  /** Show the faults of a refused request and focus the first; return those without a field. */
  showFaults(faults) {
    const homeless = this.mark(faults);
    this.node.querySelector("[aria-invalid]")?.focus();
    return homeless;
  }

  /** Whether the form is visible. */
  get isShown() {
    return this.node.closest("[hidden]") === null;
  }

  /** Remember the seed of the last image, for the lock button. */
  noteSeed(seed) {
    if (seed !== undefined) for (const one of this.#fields) one.note?.(seed);
  }

  #build() {
    this.#model = this.parameters.modelId;
    this.#fields = this.parameters.shapes.map((shape) => fieldOf(shape, () => this.#take()));
    fill(this.place, ...this.#fields.map(({ node }) => node));
  }

  #take() {
    const read = this.#fields.map((one) => [one.shape.name, one.read()]);
    const input = Object.fromEntries(read.filter(([, value]) => value !== undefined));
    this.mark();
    this.parameters.change({ input }, "form");
  }

  #takeVariations() {
    this.mark();
    const variations = this.#variationsFault
      ? this.parameters.variations
      : this.variations.valueAsNumber;
    this.parameters.change({ variations }, "form");
  }

  get #variationsFault() {
    const isGood = this.variations.value && this.variations.checkValidity();
    return isGood ? "" : `Enter an integer from 1 to ${VARIATIONS_MOST}.`;
  }

  #takeTags() {
    const words = this.tags.value.split(",").map((one) => one.trim());
    this.parameters.change({ tags: [...new Set(words.filter(Boolean))] }, "form");
  }

  #variationsField() {
    const about = `Number of images, up to ${VARIATIONS_MOST}, each with its own seed. A locked seed is increased by one for each.`;
    const row = field("Variations", this.variations, { about });
    row.classList.add("sideways");
    row.append(this.fault);
    return row;
  }

  #tagsField() {
    return field("Tags", this.tags, {
      about: "Labels to find the images by, separated by commas.",
    });
  }
}

/** The field that selects the model. */
export function modelField(parameters) {
  const options = parameters.models.map((one) => el("option", { value: one.id }, one.name));
  const select = el("select", { onchange: () => choose(parameters, select.value) }, options);
  const node = field("Model", select, { about: parameters.model.description });
  const show = () => {
    select.value = parameters.modelId;
    fill(node.querySelector(".about"), parameters.model.description);
  };
  parameters.addEventListener("change", show);
  show();
  return node;
}

/** Keep the values that the newly selected model also has; fallback models are chosen for a model. */
function choose(parameters, model) {
  const { properties } = parameters.models.find(({ id }) => id === model).input_schema;
  const known = Object.entries(parameters.input).filter(([name]) => name in properties);
  const { fallback_models: _, ...body } = parameters.body;
  parameters.take({ ...body, model, input: Object.fromEntries(known) });
}
