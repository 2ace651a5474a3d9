// The form that runs an operation.
import { codeBlock } from "../shared/code.js";
import { button } from "../shared/controls.js";
import { el, fill } from "../shared/dom.js";
import { trouble } from "../shared/notices.js";
import { showAnswer } from "./answer.js";
import { BodyField } from "./body_field.js";
import { curlOf } from "./curl.js";
import { ParameterField } from "./parameter_field.js";

const WRITES = new Set(["POST", "PUT", "PATCH", "DELETE"]);

export class Attempt {
  #stop = new AbortController();

  /**
   * Make the form of an operation. `reader` holds the `client`, the `document`, the values
   * `remembered` for paths, and `remember(data)` for responses.
   */
  constructor(operation, reader) {
    this.operation = operation;
    this.reader = reader;
    const changed = () => this.#show();
    this.inputs = operation.parameters.map((one) => new ParameterField(one, reader, changed));
    this.body = operation.bodies.length ? new BodyField(operation.bodies, changed) : null;
    this.line = codeBlock("curl line", "", { wrap: true });
    this.response = el("div", { "aria-live": "polite" });
    this.run = button("Run it", null, { type: "submit", kind: "main", drawing: "play" });
    this.halt = button("Stop", () => this.#stop.abort(), { drawing: "stop", hidden: true });
    this.node = this.#build();
    this.#show();
  }

  #build() {
    const { method, path } = this.operation;
    const warning = el("span", { class: "soft small-text" }, "This sends a real request.");
    return el(
      "form",
      {
        class: "attempt stack tight",
        novalidate: true,
        "aria-label": `Run ${method} ${path}`,
        onsubmit: (event) => this.#submit(event),
      },
      el("div", { class: "filters" }, ...this.inputs.map(({ node }) => node)),
      this.body?.node,
      this.line.node,
      el("div", { class: "row" }, this.run, this.halt, WRITES.has(method) && warning),
      this.response,
    );
  }

  /** The request as currently filled in. */
  get request() {
    const { path } = this.operation;
    const named = this.#valuesIn("path");
    const put = (whole, name) => (named[name] ? encodeURIComponent(named[name]) : whole);
    const media = this.body && { "Content-Type": this.body.media };
    return {
      path: path.replace(/{(\w+)}/g, put),
      query: this.#valuesIn("query"),
      headers: { ...this.#valuesIn("header"), ...media },
      body: this.body?.value,
    };
  }

  #valuesIn(place) {
    const here = this.inputs.filter((one) => one.place === place);
    return Object.fromEntries(here.flatMap(({ entries }) => entries));
  }

  #show() {
    this.line.set(curlOf(this.operation, this.request));
  }

  async #submit(event) {
    event.preventDefault();
    this.#stop = new AbortController();
    this.#busy(true);
    try {
      const { path, ...options } = this.request;
      const { signal } = this.#stop;
      const { client, remember } = this.reader;
      const answer = await client.send(this.operation.method, path, { ...options, signal });
      await showAnswer(answer, this.response, remember);
    } catch (error) {
      if (error.name !== "AbortError") fill(this.response, trouble(error));
    }
    this.#busy(false);
  }

  #busy(isBusy) {
    this.run.disabled = isBusy;
    this.halt.hidden = !isBusy;
  }
}
