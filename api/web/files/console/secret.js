// A secret that is shown once.
import { codeBlock } from "../shared/code.js";
import { button } from "../shared/controls.js";
import { openDialog } from "../shared/dialog.js";
import { el } from "../shared/dom.js";
import { note } from "../shared/notices.js";

/** Show a secret until the reader confirms having saved it. */
export function showSecret(heading, words, secret, what) {
  return new Promise((kept) => {
    const done = button("I have saved it", () => dialog.close(), { kind: "main" });
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
