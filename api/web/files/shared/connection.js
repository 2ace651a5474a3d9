// Whether the service responds: updated by every request, polled while it does not.

import { at } from "./address.js";

const ASK_AGAIN_MS = 2000;

/** No response: this device is offline, or the network or the service is down. */
export class Away extends Error {
  code = "away";
  retryAfter = 2;
  faults = [];

  constructor(cause) {
    super(
      navigator.onLine
        ? "Darkroom cannot be reached. Check that the service is running and the network works."
        : "This device is offline.",
      { cause },
    );
  }
}

class Connection extends EventTarget {
  /** Why the service is unavailable; null while it is available. */
  trouble = null;
  #timer = 0;

  /** Record that the service is unreachable or not ready. */
  lost(error) {
    if (this.trouble?.message !== error.message) this.#tell(error);
    if (!this.#timer) this.#timer = setTimeout(() => this.#ask(), ASK_AGAIN_MS);
  }

  /** Record a response: the service is reachable, ready or not. */
  answered() {
    if (this.trouble?.code !== "away") return;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#ask(), 0);
  }

  async #ask() {
    this.#timer = 0;
    try {
      const answer = await fetch(at("/readyz"), { cache: "no-store", credentials: "omit" });
      if (answer.ok) return this.#tell(null);
      this.lost({ code: "not_ready", message: (await answer.json()).detail });
    } catch (error) {
      this.lost(new Away(error));
    }
  }

  #tell(trouble) {
    const wasAway = this.trouble !== null;
    this.trouble = trouble;
    this.dispatchEvent(new Event("change"));
    if (wasAway && trouble === null) this.dispatchEvent(new Event("back"));
  }
}

export const connection = new Connection();
addEventListener("offline", () => connection.lost(new Away()));
addEventListener("online", () => connection.answered());
