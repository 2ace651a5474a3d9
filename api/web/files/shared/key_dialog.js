// Asking for a key, trying it, and forgetting it.
import { Client } from "./api.js";
import { button, field } from "./controls.js";
import { openDialog } from "./dialog.js";
import { el, fill } from "./dom.js";
import { faultOf } from "./key.js";
import { trouble } from "./notices.js";

/**
 * Asks for a key, and keeps it once `check(client)` was content with it: a client that has it
 * already. `heading` and `words` say what the key is for; `closed` is called at the end.
 */
export function askForKey(key, { heading, words, check, closed }) {
  new KeyDialog(key, check).open(heading, words, closed);
}

class KeyDialog {
  constructor(key, check) {
    this.key = key;
    this.check = check;
    this.said = el("div", {});
    this.input = el("input", {
      type: "password",
      autocomplete: "off",
      spellcheck: "false",
      placeholder: "dk_…",
      oninput: () => this.clear(),
    });
    this.use = button("Use this key", null, { type: "submit", kind: "main" });
  }

  open(heading, words, closed) {
    const forget = button("Remove the current key", () => this.keep(""), {
      hidden: !this.key.value,
    });
    const form = el(
      "form",
      { class: "stack", novalidate: true, onsubmit: (event) => this.submit(event) },
      field("API key", this.input, { about: words }),
      this.said,
      el("div", { class: "row" }, this.use, forget),
    );
    this.dialog = openDialog(heading, form, { closed });
    this.input.focus();
  }

  submit(event) {
    event.preventDefault();
    const value = this.input.value.trim();
    const fault = faultOf(value);
    if (fault) this.refuse({ title: "Invalid key", message: fault });
    else this.attempt(value);
  }

  async attempt(value) {
    this.use.disabled = true;
    try {
      await this.check(new Client({ value }));
      this.keep(value);
    } catch (error) {
      this.refuse(error);
    } finally {
      this.use.disabled = false;
    }
  }

  keep(value) {
    this.key.set(value);
    this.dialog.close();
  }

  clear() {
    fill(this.said);
    this.input.removeAttribute("aria-invalid");
  }

  refuse(error) {
    fill(this.said, trouble(error));
    this.input.setAttribute("aria-invalid", "true");
    this.input.focus();
  }
}
