// Changes of all jobs of the tenant, long-polled with a single request.
import { Refused } from "../shared/api.js";
import { connection } from "../shared/connection.js";

const HELD_SECONDS = 25;
const PAUSE_MS = 1500;

/** Dispatches `changed` with the ids of changed jobs, and `gap` if some may have been missed. */
export class Feed extends EventTarget {
  #client;
  #stop = null;

  constructor(client) {
    super();
    this.#client = client;
  }

  /** Start following from now on; stop the previous run. */
  start() {
    this.stop();
    this.#stop = new AbortController();
    this.#follow(this.#stop.signal);
  }

  stop() {
    this.#stop?.abort();
    this.#stop = null;
  }

  async #follow(signal) {
    let after = "now";
    while (!signal.aborted) {
      try {
        // the first response returns at once and gives the cursor for "now"
        const wait = after === "now" ? "" : HELD_SECONDS;
        const page = await this.#client.get("/v1/events", { after, wait }, { signal });
        after = page.next_cursor;
        this.#announce(page.data);
        await untilSeen();
      } catch (error) {
        if (signal.aborted) return;
        if (error instanceof Refused && [401, 403].includes(error.status)) return;
        if (error.code === "cursor_expired") {
          after = "now";
          this.dispatchEvent(new Event("gap"));
        }
        await untilBack();
      }
    }
  }

  #announce(events) {
    const ids = new Set(events.map(({ job_id }) => job_id).filter(Boolean));
    if (ids.size) this.dispatchEvent(new CustomEvent("changed", { detail: ids }));
  }
}

/** Wait while the tab is hidden; the cursor stays valid. */
function untilSeen() {
  if (!document.hidden) return null;
  return new Promise((go) => {
    document.addEventListener("visibilitychange", go, { once: true });
  });
}

function untilBack() {
  return new Promise((go) => {
    if (connection.trouble) connection.addEventListener("back", go, { once: true });
    else setTimeout(go, PAUSE_MS);
  });
}
