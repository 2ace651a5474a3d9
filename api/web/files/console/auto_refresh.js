// Asking again every few seconds: not while nobody looks, nor while a dialog is being read.
import { connection } from "../shared/connection.js";

export class Live extends EventTarget {
  /** Whether the reader lets it ask again by itself. */
  isOn = true;
  #act = null;
  #every = () => 0;
  #timer = 0;
  #asking = null;

  constructor() {
    super();
    document.addEventListener("visibilitychange", () => !document.hidden && this.#due());
    connection.addEventListener("back", () => this.#due());
  }

  /** Calls `act(signal)` now, and then every `seconds()`; what went on before is given up. */
  follow(act, seconds) {
    this.stop();
    this.#act = act;
    this.#every = seconds;
    return this.now();
  }

  stop() {
    clearTimeout(this.#timer);
    this.#asking?.abort();
    this.#act = null;
  }

  /** Asks at once. */
  async now() {
    clearTimeout(this.#timer);
    this.#asking?.abort();
    const asking = new AbortController();
    this.#asking = asking;
    try {
      await this.#act?.(asking.signal);
    } finally {
      if (this.#asking === asking) this.#wait();
    }
  }

  /** Lets it go on by itself, or not. */
  turn(isOn) {
    this.isOn = isOn;
    this.dispatchEvent(new Event("change"));
    if (isOn) this.#due();
  }

  #wait() {
    clearTimeout(this.#timer);
    const seconds = this.#every();
    if (this.#act && seconds) this.#timer = setTimeout(() => this.#due(), seconds * 1000);
  }

  #due() {
    const isRead = document.querySelector("dialog[open]") !== null;
    if (!this.isOn || document.hidden || isRead) this.#wait();
    else if (this.#act) this.now();
  }
}
