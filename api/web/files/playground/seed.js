// The seed field: unlocked, the service picks a seed for each image; locked, it uses the one shown.
import { button, field } from "../shared/controls.js";
import { el, fill } from "../shared/dom.js";
import { icon } from "../shared/icons.js";

/** 31 bits, like the seeds the service picks. */
const CHOSEN_MOST = 2 ** 31;

export class SeedField {
  #isLocked = false;
  #last = null;

  constructor(shape, changed) {
    this.changed = changed;
    this.input = el("input", {
      type: "number",
      min: shape.least,
      max: shape.most,
      step: 1,
      oninput: () => this.#typed(),
    });
    this.lock = button("", () => this.#turn());
    const vary = button("New", () => this.#choose(), {
      drawing: "dice",
      title: "New seed, locked",
    });
    this.node = field(shape.title, this.input, { about: shape.about });
    const row = el("div", { class: "row seed" }, this.lock, vary);
    this.input.replaceWith(row);
    row.prepend(this.input);
    this.#show();
  }

  read() {
    return this.#isLocked && this.input.value !== "" ? this.input.valueAsNumber : undefined;
  }

  write(value) {
    this.#isLocked = value !== null && value !== undefined;
    this.input.value = this.#isLocked ? value : "";
    this.#show();
  }

  /** Remember the seed of the last image, for the lock button. */
  note(seed) {
    this.#last = seed;
    this.#show();
  }

  #typed() {
    this.#isLocked = this.input.value !== "";
    this.#show();
    this.changed();
  }

  #turn() {
    this.write(this.#isLocked ? null : (this.#last ?? newSeed()));
    this.changed();
  }

  #choose() {
    this.write(newSeed());
    this.changed();
  }

  #show() {
    this.input.placeholder = this.#last === null ? "random" : `random, last ${this.#last}`;
    this.lock.setAttribute("aria-pressed", this.#isLocked);
    const drawing = icon(this.#isLocked ? "lock" : "unlock");
    fill(this.lock, drawing, this.#isLocked ? "Locked" : "Lock");
  }
}

function newSeed() {
  return crypto.getRandomValues(new Uint32Array(1))[0] % CHOSEN_MOST;
}
