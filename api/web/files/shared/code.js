// Code blocks with a copy button.
import { iconButton } from "./controls.js";
import { el, fill } from "./dom.js";
import { toast } from "./notices.js";

/** Copy text to the clipboard and show a message. */
export async function copy(text, what) {
  try {
    // pages without TLS have only the old clipboard API
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

/** A code block. `what` names it on the button; the returned `set` replaces its text. */
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
