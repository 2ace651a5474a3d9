// A secret that is shown once.
import { codeBlock } from "../parts/code.js";
import { button } from "../parts/controls.js";
import { openDialog } from "../parts/dialog.js";
import { el } from "../parts/dom.js";
import { note } from "../parts/say.js";

/** Shows a secret until the reader says that it is kept. */
export function showSecret(heading, words, secret, what) {
  return new Promise((kept) => {
    const done = button("I have kept it", () => dialog.close(), { kind: "main" });
    const dialog = openDialog(
      heading,
      [
        note("wait", words),
        codeBlock(what, secret, { wrap: true }).node,
        el("div", { class: "row" }, done),
      ],
      { closed: () => kept() },
    );
    done.focus();
  });
}
