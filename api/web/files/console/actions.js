// Doing something: only with a key that may, asked for first, and told afterwards.
import { button } from "../shared/controls.js";
import { openDialog } from "../shared/dialog.js";
import { el, fill } from "../shared/dom.js";
import { toast, trouble } from "../shared/notices.js";

const ONLY_READS = "This key is read-only: this action needs the scope ops:write.";

/** A button that changes something; without the right to, it stands there and says why not. */
export function actionButton(may, words, act, { kind = "", drawing = "", title = "" } = {}) {
  const told = may ? title : ONLY_READS;
  return button(words, act, { kind: `small ${kind}`, drawing, disabled: !may, title: told });
}

/**
 * Asks, does `act()` and says `done(answer)`; what goes wrong is told in the dialog, which stays.
 * Gives the answer, or null where it was not done.
 */
export function ask(heading, words, verb, act, done, { kind = "main" } = {}) {
  return new Promise((answer) => {
    let result = null;
    const said = el("div", {});
    const yes = button(verb, perform, { kind });
    const no = button("Back", () => dialog.close());
    const dialog = openDialog(
      heading,
      [el("div", { class: "stack tight" }, words), said, el("div", { class: "row" }, yes, no)],
      { closed: () => answer(result) },
    );
    no.focus();

    async function perform() {
      yes.disabled = true;
      try {
        result = (await act()) ?? true;
        dialog.close();
        toast(done(result));
      } catch (error) {
        fill(said, trouble(error));
        yes.disabled = false;
        yes.focus();
      }
    }
  });
}
