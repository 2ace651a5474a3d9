// The form: made from the model's JSON Schema, so that a new model needs no change here.
import { el, fill, freshId } from "../parts/dom.js";
import { fieldOf } from "./fields.js";
import { VARIATIONS_MOST } from "./parameters.js";

/** Makes the form of `parameters`; gives {node, showFaults, noteSeed}. */
export function formOf(parameters) {
  const place = el("div", { class: "stack" });
  let fields = [];
  let shown = null;

  const tags = tagsField(parameters);
  const variations = variationsField(parameters);

  function build() {
    shown = parameters.modelId;
    fields = parameters.shapes.map((shape) => fieldOf(shape, changed));
    fill(
      place,
      fields.map(({ node }) => node),
    );
  }

  function changed() {
    const input = Object.fromEntries(
      fields
        .map(({ shape, read }) => [shape.name, read()])
        .filter(([, value]) => value !== undefined),
    );
    showFaults([]);
    parameters.change({ input }, "form");
  }

  function show() {
    if (shown !== parameters.modelId) build();
    for (const { shape, write } of fields) write(parameters.input[shape.name]);
    tags.show();
    variations.show();
  }

  /** Shows the faults of a refused request at their fields; gives those that have none. */
  function showFaults(faults) {
    const homeless = new Set(faults);
    for (const field of fields) {
      const own = faults.filter(({ pointer }) => pointer === `/input/${field.shape.name}`);
      field.showFault(own.map(({ message }) => message).join("; "));
      for (const fault of own) homeless.delete(fault);
    }
    place.querySelector("[aria-invalid]")?.focus();
    return [...homeless];
  }

  parameters.addEventListener("change", ({ detail }) => detail !== "form" && show());
  show();
  const noteSeed = (seed) => {
    for (const field of fields) field.note?.(seed);
  };
  return {
    node: el("div", { class: "stack" }, place, variations.node, tags.node),
    showFaults,
    noteSeed,
  };
}

/** Which model is asked. */
export function modelField(parameters) {
  const id = freshId("model");
  const select = el(
    "select",
    { id, onchange: () => choose(parameters, select.value) },
    parameters.models.map((one) => el("option", { value: one.id }, one.name)),
  );
  const about = el("p", { class: "about", id: `${id}-about` });
  select.setAttribute("aria-describedby", about.id);
  const show = () => {
    select.value = parameters.modelId;
    fill(about, parameters.model.description);
  };
  parameters.addEventListener("change", show);
  show();
  return el("div", { class: "field" }, el("label", { for: id }, "Model"), select, about);
}

/** Takes over what the other model knows too. */
function choose(parameters, model) {
  const { properties } = parameters.models.find(({ id }) => id === model).input_schema;
  const known = Object.entries(parameters.input).filter(([name]) => name in properties);
  parameters.take({ ...parameters.body, model, input: Object.fromEntries(known) });
}

function variationsField(parameters) {
  const id = freshId("variations");
  const input = el("input", {
    type: "number",
    id,
    class: "short",
    min: 1,
    max: VARIATIONS_MOST,
    step: 1,
    "aria-describedby": `${id}-about`,
    oninput: () =>
      input.checkValidity() &&
      input.value &&
      parameters.change({ variations: input.valueAsNumber }, "form"),
  });
  const node = el(
    "div",
    { class: "field" },
    el(
      "div",
      { class: "row apart" },
      el("label", { for: id, class: "label" }, "Variations"),
      input,
    ),
    el(
      "p",
      { class: "about", id: `${id}-about` },
      `So many pictures, up to ${VARIATIONS_MOST}, each with a seed of its own; a locked seed counts up.`,
    ),
  );
  return {
    node,
    show: () => {
      input.value = parameters.variations;
    },
  };
}

function tagsField(parameters) {
  const id = freshId("tags");
  const read = () => [
    ...new Set(
      input.value
        .split(",")
        .map((one) => one.trim())
        .filter(Boolean),
    ),
  ];
  const input = el("input", {
    id,
    placeholder: "catalogue, spring",
    "aria-describedby": `${id}-about`,
    oninput: () => parameters.change({ tags: read() }, "form"),
  });
  const node = el(
    "div",
    { class: "field" },
    el("label", { for: id }, "Tags"),
    input,
    el(
      "p",
      { class: "about", id: `${id}-about` },
      "Yours, to find the pictures by; with commas between.",
    ),
  );
  return {
    node,
    show: () => {
      input.value = parameters.tags.join(", ");
    },
  };
}
