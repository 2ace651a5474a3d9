// The dialog for entering, checking and removing a key.
import { Client } from "./api.js";
import { button, field } from "./controls.js";
import { openDialog } from "./dialog.js";
import { el, fill } from "./dom.js";
import { faultOf } from "./key.js";
import { trouble } from "./notices.js";

/**
 * Ask for a key and store it once `check(client)`, called with a client that uses it, succeeds.
 * `heading` and `words` explain what the key is for; `closed` is called at the end.
 */
export function askForKey(key, { heading, words, check, closed }) {
  new KeyDialog(key, check).open(heading, words, closed);
}

class KeyDialog {
  constructor(key, check) {
    this.key = key;
    this.check = check;
    this.notices = el("div", {});
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
      this.notices,
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
    fill(this.notices);
    this.input.removeAttribute("aria-invalid");
  }

  refuse(error) {
    fill(this.notices, trouble(error));
    this.input.setAttribute("aria-invalid", "true");
    this.input.focus();
  }
}
