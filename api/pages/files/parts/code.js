// Text to be taken away, with a button that takes it.
import { el, fill } from "./dom.js";
import { icon } from "./icons.js";
import { toast } from "./say.js";

/** Copies; says so. */
export async function copy(text, what) {
  try {
    await navigator.clipboard.writeText(text);
    toast(`${what} copied`);
  } catch {
    toast("The browser did not let it be copied: select the text and copy it by hand.");
  }
}

/** A block of code. `what` names it for the button; `set` of the result changes its text. */
export function codeBlock(what, text = "", { wrap = false } = {}) {
  const inside = el("code", {}, text);
  const button = el(
    "button",
    {
      type: "button",
      class: "button only small",
      "aria-label": `Copy ${what}`,
      title: "Copy",
      onclick: () => copy(inside.textContent, what),
    },
    icon("copy"),
  );
  // a block that scrolls must be reachable by keyboard
  const block = el(
    "pre",
    { class: wrap ? "wrap" : "", tabindex: 0, role: "region", "aria-label": what },
    inside,
  );
  const node = el("div", { class: "code" }, block, button);
  return {
    node,
    set: (next) => fill(inside, next),
    get text() {
      return inside.textContent;
    },
  };
}
