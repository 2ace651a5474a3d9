// Dialogs of the browser's own kind: it keeps the focus inside and closes by Escape.
import { el, freshId } from "./dom.js";
import { icon } from "./icons.js";

/** Opens a dialog with a heading; gives it. It is gone once closed, and `closed` is called. */
export function openDialog(heading, children, { wide = false, closed = () => {} } = {}) {
  const id = freshId("dialog");
  const close = el(
    "button",
    {
      type: "button",
      class: "button quiet only",
      "aria-label": "Close",
      onclick: () => dialog.close(),
    },
    icon("close"),
  );
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

/** Asks before something that cannot be taken back; gives true or false. */
export function confirmed(heading, words, act) {
  return new Promise((answer) => {
    let said = false;
    const yes = el(
      "button",
      {
        type: "button",
        class: "button bad",
        onclick: () => {
          said = true;
          dialog.close();
        },
      },
      act,
    );
    const no = el(
      "button",
      { type: "button", class: "button", onclick: () => dialog.close() },
      "No, leave it",
    );
    const dialog = openDialog(heading, [el("p", {}, words), el("div", { class: "row" }, yes, no)], {
      closed: () => answer(said),
    });
    no.focus();
  });
}
