// Deletion of a tenant with everything it has, confirmed by its name.
import { button, field } from "../shared/controls.js";
import { openDialog } from "../shared/dialog.js";
import { el, fill } from "../shared/dom.js";
import { trouble } from "../shared/notices.js";
import { erasureProgress } from "./erasure.js";

/** Ask for the tenant's name and delete the tenant; resolve to whether it is being deleted. */
export function deleteTenant(client, name) {
  return new Promise((answer) => {
    let isDeleted = false;
    const notices = el("div", {});
    const input = el("input", {
      type: "text",
      autocomplete: "off",
      spellcheck: "false",
      oninput: check,
    });
    const yes = el(
      "button",
      { type: "submit", class: "button bad", disabled: true },
      "Delete tenant",
    );
    const close = button("Back", () => dialog.close());
    const form = el(
      "form",
      { class: "stack", onsubmit: submit },
      el(
        "p",
        {},
        "Its keys stop working within five seconds. Its queued and running jobs are canceled; its jobs, images, deliveries and history are deleted. Its usage totals stay. This cannot be undone.",
      ),
      field("Type the name of the tenant to confirm", input, { about: name }),
      notices,
      el("div", { class: "row" }, yes, close),
    );
    const dialog = openDialog("Delete this tenant?", form, { closed: () => answer(isDeleted) });
    input.focus();

    function check() {
      yes.disabled = input.value.trim() !== name;
      fill(notices);
    }

    async function submit(event) {
      event.preventDefault();
      yes.disabled = true;
      try {
        const path = `/ops/v1/tenants/${encodeURIComponent(name)}`;
        const { data: erasure } = await client.ask("DELETE", path);
        isDeleted = true;
        fill(close, "Close");
        fill(form, erasureProgress(client, erasure), el("div", { class: "row" }, close));
      } catch (error) {
        fill(notices, trouble(error));
        yes.disabled = false;
      }
    }
  });
}
