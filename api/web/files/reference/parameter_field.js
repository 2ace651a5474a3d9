// One parameter of a request.
import { el, freshId } from "../shared/dom.js";
import { typeWords } from "./document.js";

export class ParameterField {
  constructor({ name, in: place, required, schema = {}, description = "" }, reader, changed) {
    this.name = name;
    this.place = place;
    this.isObject = schema.type === "object";
    this.input = inputOf(reader.document, schema, changed);
    this.input.value = place === "path" ? reader.remembered(name) : "";
    this.input.title = description.replaceAll("`", "");
    const words = [
      el("code", {}, name),
      required ? " (required)" : "",
      place !== "path" && el("span", { class: "soft" }, ` ${place}`),
    ];
    const label = el("label", { for: this.input.id }, words);
    this.node = el("div", { class: "field" }, label, this.input);
  }

  /** The parameters as names and values: of an object, each member is one, as `a.b=c&a.d=e`. */
  get entries() {
    const { value } = this.input;
    if (value === "") return [];
    return this.isObject ? [...new URLSearchParams(value)] : [[this.name, value]];
  }
}

function inputOf(document, schema, changed) {
  const id = freshId("try");
  if (!schema.enum) {
    const placeholder = typeWords(document, schema);
    return el("input", { id, placeholder, dir: "auto", spellcheck: "false", oninput: changed });
  }
  const options = schema.enum.map((one) => el("option", { value: String(one) }, String(one)));
  return el("select", { id, onchange: changed }, el("option", { value: "" }, "–"), options);
}
