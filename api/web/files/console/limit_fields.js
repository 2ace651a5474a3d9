// The fields of a form for the limits of a tenant or a key, of which only what was edited is sent.
import { faultLine, field, markField, notANumber } from "../shared/controls.js";
import { el, fill } from "../shared/dom.js";
import { toast, trouble } from "../shared/notices.js";

/** A field for a number; empty, its limit is null. */
export function numberField(name, label, { about = "", step = 1, may = true }) {
  const input = el("input", {
    type: "number",
    name,
    min: 0,
    step,
    disabled: !may,
    oninput: () => markField(input, fault, ""),
  });
  const node = field(label, input, { about });
  const fault = faultLine();
  node.append(fault);
  return {
    name,
    input,
    node,
    read: () => (input.value === "" ? null : Number(input.value)),
    write: (value) => {
      input.value = value ?? "";
    },
    mark: () => markField(input, fault, notANumber(node)),
  };
}

export class LimitFields {
  #fields;
  #stored;

  /**
   * Each of `fields` has the `name` of a limit, its `input`, `read()`, `write(value)`, and `mark()`
   * if it can hold what cannot be read; `limits` are the stored ones.
   */
  constructor(fields, limits) {
    this.#fields = fields;
    this.#stored = { ...limits };
    for (const one of fields) one.write(limits[one.name]);
  }

  /** Show the limits that are stored now; what is being edited stays. */
  show(limits) {
    for (const one of this.#fields) {
      if (!this.#isEdited(one)) {
        if (one.input === document.activeElement) continue;
        one.write(limits[one.name]);
      }
      this.#stored[one.name] = limits[one.name];
    }
  }

  /**
   * Handle the submission of the form: call `save(changes)` with the edited limits, and show its error
   * in `notices`. A number that cannot be read is marked, and nothing is saved.
   */
  async submit(event, notices, save) {
    event.preventDefault();
    if (!this.#isReadable()) return;
    const edited = this.#fields.filter((one) => this.#isEdited(one));
    if (!edited.length) return toast("Nothing has been changed");
    fill(notices);
    const { submitter } = event;
    submitter.disabled = true;
    try {
      await save(Object.fromEntries(edited.map(({ name, read }) => [name, read()])));
    } catch (error) {
      fill(notices, trouble(error));
    } finally {
      submitter.disabled = false;
    }
  }

  #isEdited({ name, input, read }) {
    return input.validity.badInput || !isSame(read(), this.#stored[name]);
  }

  #isReadable() {
    for (const one of this.#fields) one.mark?.();
    const bad = this.#fields.find(({ input }) => input.validity.badInput);
    bad?.input.focus();
    return !bad;
  }
}

function isSame(one, other) {
  return JSON.stringify(one ?? null) === JSON.stringify(other ?? null);
}
