// News of all the caller's jobs, held open by one request whatever their number.
import { Refused } from "../shared/api.js";
import { connection } from "../shared/connection.js";

const HELD_SECONDS = 25;
const PAUSE_MS = 1500;

/** Dispatches `news` with the ids of jobs that changed, and `gap` where some may have been missed. */
export class Feed extends EventTarget {
  #client;
  #stop = null;

  constructor(client) {
    super();
    this.#client = client;
  }

  /** Begins with what comes from now on; a former following ends. */
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
        // the first answer comes at once: it only tells where "now" is
        const wait = after === "now" ? "" : HELD_SECONDS;
        const page = await this.#client.get("/v1/events", { after, wait }, { signal });
        after = page.next_cursor;
        this.#tell(page.data);
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

  #tell(news) {
    const ids = new Set(news.map(({ job_id }) => job_id).filter(Boolean));
    if (ids.size) this.dispatchEvent(new CustomEvent("news", { detail: ids }));
  }
}

/** A page that nobody looks at asks for nothing; its cursor waits. */
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
