// Native dialogs, which keep the focus inside and close on Escape.
import { button, iconButton } from "./controls.js";
import { el, freshId } from "./dom.js";

/** Open a dialog with a heading and return it. On close it is removed and `closed` is called. */
export function openDialog(heading, children, { wide = false, closed = () => {} } = {}) {
  const id = freshId("dialog");
  const close = iconButton("close", "Close", () => dialog.close(), { kind: "quiet" });
  const dialog = el(
    "dialog",
    { class: wide ? "wide" : "", "aria-labelledby": id },
    el("header", {}, el("h2", { id, class: "grow" }, heading), close),
    el("div", { class: "inside" }, children),
  );
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
  dialog.addEventListener("close", () => {
    dialog.remove();
    closed();
  });
  document.body.append(dialog);
  dialog.showModal();
  return dialog;
}

/** Ask for confirmation of something irreversible; resolve to true or false. */
export function confirmed(heading, words, act) {
  return new Promise((answer) => {
    let confirmed = false;
    const agree = () => {
      confirmed = true;
      dialog.close();
    };
    const no = button("Back", () => dialog.close());
    const buttons = el("div", { class: "row" }, button(act, agree, { kind: "bad" }), no);
    const dialog = openDialog(heading, [el("p", {}, words), buttons], {
      closed: () => answer(confirmed),
    });
    no.focus();
  });
}
