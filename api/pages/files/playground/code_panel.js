// "Take the code": the request that is on the page, in every way of asking.
import { codeBlock } from "../parts/code.js";
import { openDialog } from "../parts/dialog.js";
import { el } from "../parts/dom.js";
import { tabs } from "../parts/tabs.js";
import { WAYS } from "./snippets.js";

/** Gives {node, show}: `show(body, variations)` writes the code of another request. */
export function codePanel() {
  const blocks = WAYS.map(({ name, label, about, write }) => {
    const block = codeBlock(`${label} code`);
    const panel = el(
      "div",
      { class: "stack tight" },
      block.node,
      el("p", { class: "soft small-text" }, about),
    );
    return { name, label, panel, put: (request) => block.set(write(request)) };
  });
  const { bar, panels } = tabs("Ways of asking", blocks);
  const show = (body, variations = 1) => {
    const request = { body, variations, url: location.origin };
    for (const { put } of blocks) put(request);
  };
  return { node: el("div", { class: "stack tight code-panel" }, bar, panels), show };
}

/** Opens the code that makes a picture that is there, the same again. */
export function openCode({ model, input, tags }) {
  const panel = codePanel();
  panel.show({ model, input, ...(tags.length && { tags }) });
  openDialog(
    "The code of this picture",
    [el("p", { class: "soft" }, "With its seed: the same picture again."), panel.node],
    { wide: true },
  );
}
