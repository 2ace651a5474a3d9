// The body of a request, initialised from an example.
import { field } from "../shared/controls.js";
import { el } from "../shared/dom.js";

export class BodyField {
  /** `bodies` are those of an operation: a media type with its examples. */
  constructor(bodies, changed) {
    this.changed = changed;
    this.ways = bodies.flatMap(({ media, examples }) => waysOf(media, examples, bodies.length > 1));
    this.text = el("textarea", {
      class: "mono",
      rows: 8,
      dir: "auto",
      spellcheck: "false",
      oninput: changed,
    });
    this.choice = el(
      "select",
      {
        class: "narrow",
        "aria-label": "Example",
        hidden: this.ways.length < 2,
        onchange: () => this.#take(),
      },
      this.ways.map(({ name }, index) => el("option", { value: index }, name)),
    );
    this.text.value = this.#way.text;
    this.node = field("Body", this.text, { beside: this.choice });
  }

  get media() {
    return this.#way.media;
  }

  get value() {
    return this.text.value;
  }

  get #way() {
    return this.ways[Number(this.choice.value) || 0];
  }

  #take() {
    this.text.value = this.#way.text;
    this.changed();
  }
}

function waysOf(media, examples, isOneOfMany) {
  return examples.map(([name, value]) => ({
    media,
    name: isOneOfMany ? `${media}: ${name}` : name,
    text: textOf(media, value),
  }));
}

/** The document has no examples of bodies that are not JSON. */
function textOf(media, value) {
  if (media.includes("ndjson")) return '{"input": {"prompt": "A lighthouse at dawn"}}\n';
  return JSON.stringify(value, null, 2);
}
