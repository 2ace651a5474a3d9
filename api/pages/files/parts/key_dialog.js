// Asking for a key, trying it, and forgetting it.
import { Client } from "./api.js";
import { openDialog } from "./dialog.js";
import { el, fill, freshId } from "./dom.js";
import { faultOf } from "./key.js";
import { trouble } from "./say.js";

/**
 * Asks for a key, and keeps it once `check(client)` was content with it: a client that has it
 * already. `heading` and `words` say what the key is for.
 */
export function askForKey(key, { heading, words, check }) {
  const said = el("div", {});
  const id = freshId("key");
  const input = el("input", {
    type: "password",
    id,
    autocomplete: "off",
    spellcheck: "false",
    placeholder: "dk_…",
    "aria-describedby": `${id}-about`,
  });
  const use = el("button", { type: "submit", class: "button main" }, "Use this key");
  const forget = el(
    "button",
    { type: "button", class: "button", hidden: !key.value, onclick: () => keep("") },
    "Forget the present one",
  );
  const form = el(
    "form",
    { class: "stack", novalidate: true, onsubmit: submit },
    el(
      "div",
      { class: "field" },
      el("label", { for: id }, "API key"),
      input,
      el("p", { class: "about", id: `${id}-about` }, words),
    ),
    said,
    el("div", { class: "row" }, use, forget),
  );
  const dialog = openDialog(heading, form);
  input.focus();

  function submit(event) {
    event.preventDefault();
    const value = input.value.trim();
    const fault = faultOf(value);
    if (fault) refuse({ title: "This is no key", message: fault });
    else attempt(value);
  }

  async function attempt(value) {
    use.disabled = true;
    try {
      await check(new Client({ value }));
      keep(value);
    } catch (error) {
      refuse(error);
    } finally {
      use.disabled = false;
    }
  }

  function keep(value) {
    key.set(value);
    dialog.close();
  }

  function refuse(error) {
    fill(said, trouble(error));
    input.setAttribute("aria-invalid", "true");
    input.focus();
  }
}
