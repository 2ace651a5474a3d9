// Refresh every few seconds, except in a hidden tab and while a dialog is open.
import { connection } from "../shared/connection.js";

export class Live extends EventTarget {
  /** Whether automatic refresh is on. */
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

  /** Call `act(signal)` at once and then every `seconds()`; abort the previous schedule. */
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

  /** Refresh now. */
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

  /** Turn automatic refresh on or off. */
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
