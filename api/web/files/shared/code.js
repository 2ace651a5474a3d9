// Text to be taken away, with a button that takes it.
import { iconButton } from "./controls.js";
import { el, fill } from "./dom.js";
import { toast } from "./notices.js";

/** Copies; says so. */
export async function copy(text, what) {
  try {
    // pages that came without TLS have no clipboard but the old one
    if (navigator.clipboard) await navigator.clipboard.writeText(text);
    else copyOldWay(text);
    toast(`${what} copied`);
  } catch {
    toast("The browser blocked copying. Select the text and copy it yourself.");
  }
}

function copyOldWay(text) {
  const area = el("textarea", { value: text, class: "unseen" });
  const focused = document.activeElement;
  (document.querySelector("dialog[open]") ?? document.body).append(area);
  area.select();
  const isDone = document.execCommand("copy");
  area.remove();
  focused?.focus();
  if (!isDone) throw new Error("not copied");
}

/** A block of code. `what` names it for the button; `set` of the result changes its text. */
export function codeBlock(what, text = "", { wrap = false } = {}) {
  const inside = el("code", {}, text);
  const take = iconButton("copy", `Copy ${what}`, () => copy(inside.textContent, what), {
    kind: "small",
  });
  // a block that scrolls must be reachable by keyboard
  const block = el(
    "pre",
    { class: wrap ? "wrap" : "", tabindex: 0, role: "region", "aria-label": what },
    inside,
  );
  const node = el("div", { class: "code" }, block, take);
  return {
    node,
    set: (next) => fill(inside, next),
    get text() {
      return inside.textContent;
    },
  };
}
