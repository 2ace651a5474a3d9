// Buttons for changes: disabled without the scope, confirmed in a dialog, followed by a message.
import { button } from "../shared/controls.js";
import { openDialog } from "../shared/dialog.js";
import { el, fill } from "../shared/dom.js";
import { toast, trouble } from "../shared/notices.js";

const ONLY_READS = "This key is read-only: this action needs the scope ops:write.";

/** A button that changes something; disabled, with the reason as its tooltip, for a read-only key. */
export function actionButton(may, words, act, { kind = "", drawing = "", title = "" } = {}) {
  const tooltip = may ? title : ONLY_READS;
  return button(words, act, { kind: `small ${kind}`, drawing, disabled: !may, title: tooltip });
}

/**
 * Ask for confirmation, run `act()` and show `done(answer)`. An error stays in the open dialog.
 * Resolve to the answer, or to null if the reader closed the dialog.
 */
export function ask(heading, words, verb, act, done, { kind = "main" } = {}) {
  return new Promise((answer) => {
    let result = null;
    const notices = el("div", {});
    const yes = button(verb, perform, { kind });
    const no = button("Back", () => dialog.close());
    const dialog = openDialog(
      heading,
      [el("div", { class: "stack tight" }, words), notices, el("div", { class: "row" }, yes, no)],
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
        fill(notices, trouble(error));
        yes.disabled = false;
        yes.focus();
      }
    }
  });
}
