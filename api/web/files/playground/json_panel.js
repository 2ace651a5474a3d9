// The request as editable JSON.
import { field } from "../shared/controls.js";
import { el } from "../shared/dom.js";

export class JsonPanel {
  /** Show `parameters`; valid edits update them, invalid ones show a fault. */
  constructor(parameters) {
    this.parameters = parameters;
    this.fault = el("p", { class: "fault", role: "alert", hidden: true });
    this.text = el("textarea", {
      class: "mono",
      rows: 18,
      dir: "auto",
      spellcheck: "false",
      oninput: () => this.#read(),
    });
    this.node = field("Request", this.text, {
      about: [
        "The body of ",
        el("code", {}, "POST /v1/jobs"),
        ". Every field that it accepts can be used here: ",
        el("code", {}, "priority, webhook, metadata, deadline_seconds, reuse"),
        "…",
      ],
    });
    this.text.after(this.fault);
    parameters.addEventListener("change", ({ detail }) => detail !== "json" && this.#show());
    this.#show();
  }

  /** Whether the text can be sent. */
  get isFit() {
    return this.fault.hidden;
  }

  #show() {
    this.text.value = JSON.stringify(this.parameters.body, null, 2);
    this.#say("");
  }

  #read() {
    const [body, words] = parsed(this.text.value);
    this.#say(words);
    if (words) return;
    const { model, input, tags, ...more } = body;
    const modelId = model ?? this.parameters.models[0].id;
    this.parameters.change({ modelId, input: input ?? {}, tags: tags ?? [], more }, "json");
  }

  #say(words) {
    this.fault.hidden = !words;
    this.fault.textContent = words;
    if (words) this.text.setAttribute("aria-invalid", "true");
    else this.text.removeAttribute("aria-invalid");
  }
}

function parsed(text) {
  try {
    const body = JSON.parse(text);
    return isObject(body) ? [body, faultIn(body)] : [null, "Enter one JSON object."];
  } catch (error) {
    return [null, `Invalid JSON: ${error.message}.`];
  }
}

/** Name a member that the form, the code and the link cannot show; the API checks all others. */
function faultIn({ model, input, tags }) {
  if (typeof (model ?? "") !== "string") return "model must be a text.";
  if (!isObject(input ?? {})) return "input must be an object.";
  const areTexts =
    Array.isArray(tags ?? []) && (tags ?? []).every((tag) => typeof tag === "string");
  return areTexts ? "" : "tags must be a list of texts.";
}

function isObject(value) {
  return value !== null && typeof value === "object" && !Array.isArray(value);
}
