// The request as one value, shared by form, JSON, code and link.
import { readText, shapesOf } from "./schema_types.js";

/** The maximum number of images of one request. */
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

  /** The selected model as the API describes it; the first one if the name is unknown. */
  get model() {
    return this.#models.find(({ id }) => id === this.modelId) ?? this.#models[0];
  }

  get shapes() {
    return shapesOf(this.model.input_schema);
  }

  /** The ids of the models that may serve the job instead, in order. */
  get fallbacks() {
    const named = this.more.fallback_models ?? [];
    if (named === "default") return this.model.fallbacks;
    return Array.isArray(named) ? named : [];
  }

  changeFallbacks(ids, by = null) {
    const { fallback_models: _, ...more } = this.more;
    this.change({ more: ids.length ? { ...more, fallback_models: ids } : more }, by);
  }

  /** The body of `POST /v1/jobs`. */
  get body() {
    const tags = this.tags.length ? { tags: this.tags } : {};
    return { model: this.modelId, input: this.input, ...tags, ...this.more };
  }

  /** Replace the whole body; missing values become the defaults. `by` is passed on to listeners. */
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

  /** Change some values. */
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

/** Write parameters as a URL fragment, which browsers do not send to servers. */
export function linkOf({ model, input, tags, fallback_models: fallbacks }, variations = 1) {
  const words = new URLSearchParams({ model });
  for (const [name, value] of Object.entries(input))
    words.set(name, typeof value === "string" ? value : JSON.stringify(value));
  if (tags?.length) words.set("tags", tags.join(","));
  if (fallbacks?.length) words.set("fallback_models", [fallbacks].flat().join(","));
  if (variations > 1) words.set("variations", variations);
  return `#${words}`;
}

/** Parse such a fragment; return what `take` accepts, or null if it holds no parameters. */
export function readLink(hash, models) {
  const words = new URLSearchParams(hash.replace(/^#/, ""));
  const model = models.find(({ id }) => id === words.get("model")) ?? models[0];
  const shapes = shapesOf(model.input_schema).filter(({ name }) => words.has(name));
  if (!shapes.length && !words.has("model")) return null;
  const input = Object.fromEntries(
    shapes.map((shape) => [shape.name, readText(shape, words.get(shape.name))]),
  );
  const listed = (name) => (words.get(name) ?? "").split(",").filter(Boolean);
  const known = new Set(models.map(({ id }) => id));
  const fallbacks = listed("fallback_models").filter((name) => known.has(name));
  const body = { model: model.id, input: withoutNulls(input), tags: listed("tags") };
  return {
    body: fallbacks.length ? { ...body, fallback_models: fallbacks } : body,
    variations: words.get("variations") ?? 1,
  };
}
