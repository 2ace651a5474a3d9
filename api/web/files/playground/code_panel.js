// The code panel: the request on the page, as code for each client.
import { SERVICE } from "../shared/address.js";
import { codeBlock } from "../shared/code.js";
import { openDialog } from "../shared/dialog.js";
import { el } from "../shared/dom.js";
import { tabs } from "../shared/tabs.js";
import { WAYS } from "./snippets.js";

export class CodePanel {
  constructor() {
    this.ways = WAYS.map(({ name, label, about, write }) => {
      const block = codeBlock(`${label} code`);
      const words = el("p", { class: "soft small-text" }, about);
      const panel = el("div", { class: "stack tight" }, block.node, words);
      return { name, label, panel, put: (request) => block.set(write(request)) };
    });
    const { bar, panels } = tabs("Clients", this.ways);
    this.node = el("div", { class: "stack tight code-panel" }, bar, panels);
  }

  /** Show the code of a request. */
  show(body, variations = 1) {
    for (const { put } of this.ways) put({ body, variations, url: SERVICE });
  }
}

/** Open a dialog with the code that generates an existing image again. */
export function openCode({ model, input, tags }) {
  const panel = new CodePanel();
  panel.show({ model, input, ...(tags.length && { tags }) });
  const words = el("p", { class: "soft" }, "With its seed, so it generates the same image again.");
  openDialog("Code for this image", [words, panel.node], { wide: true });
}
