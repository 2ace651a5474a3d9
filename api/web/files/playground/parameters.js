// What is asked for, as one value that the form, the JSON, the code and the link all show.
import { readText, shapesOf } from "./schema_types.js";

/** The most images of one press of the button. */
export const VARIATIONS_MOST = 16;

export class Parameters extends EventTarget {
  #models;

  /** `models` are those of `GET /v1/models`. */
  constructor(models) {
    super();
    this.#models = models;
    this.take({ model: models[0].id });
  }

  get models() {
    return this.#models;
  }

  /** The chosen model, as the API describes it; the first where it has none of that name. */
  get model() {
    return this.#models.find(({ id }) => id === this.modelId) ?? this.#models[0];
  }

  get shapes() {
    return shapesOf(this.model.input_schema);
  }

  /** The body of `POST /v1/jobs`. */
  get body() {
    const tags = this.tags.length ? { tags: this.tags } : {};
    return { model: this.modelId, input: this.input, ...tags, ...this.more };
  }

  /** Takes a whole body over; what it leaves out is as the model has it by default. `by` is told on. */
  take(
    { model = this.modelId, input = {}, tags = [], ...more },
    { variations = this.variations ?? 1, by = null } = {},
  ) {
    this.modelId = model;
    this.input = { prompt: "", ...this.model.defaults, ...withoutNulls(input) };
    this.tags = tags;
    this.more = more;
    this.variations = clamp(variations);
    this.#tell(by);
  }

  /** Changes some of it. */
  change(parts, by = null) {
    Object.assign(this, parts);
    this.#tell(by);
  }

  #tell(by) {
    this.dispatchEvent(new CustomEvent("change", { detail: by }));
  }
}

function withoutNulls(input) {
  return Object.fromEntries(
    Object.entries(input).filter(([, value]) => value !== null && value !== undefined),
  );
}

function clamp(variations) {
  return Math.min(Math.max(Math.trunc(Number(variations)) || 1, 1), VARIATIONS_MOST);
}

/** Writes parameters as the part of an address behind `#`, which no server ever sees. */
export function linkOf({ model, input, tags }, variations = 1) {
  const words = new URLSearchParams({ model });
  for (const [name, value] of Object.entries(input))
    words.set(name, typeof value === "string" ? value : JSON.stringify(value));
  if (tags?.length) words.set("tags", tags.join(","));
  if (variations > 1) words.set("variations", variations);
  return `#${words}`;
}

/** Reads such a part; gives what `take` takes, or null where it says nothing. */
export function readLink(hash, models) {
  const words = new URLSearchParams(hash.replace(/^#/, ""));
  const model = models.find(({ id }) => id === words.get("model")) ?? models[0];
  const shapes = shapesOf(model.input_schema).filter(({ name }) => words.has(name));
  if (!shapes.length && !words.has("model")) return null;
  const input = Object.fromEntries(
    shapes.map((shape) => [shape.name, readText(shape, words.get(shape.name))]),
  );
  const tags = (words.get("tags") ?? "").split(",").filter(Boolean);
  return {
    body: { model: model.id, input: withoutNulls(input), tags },
    variations: words.get("variations") ?? 1,
  };
}
