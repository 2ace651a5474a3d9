// Asking for images, once: whatever happens on the way, a repeated request makes no second job.
import { isPassing } from "../shared/api.js";

/** What passes by itself, of the reasons that a request is refused for. */
const PASSING = new Set(["away", "redis_down", "not_ready", "accept_unknown", "outcome_unknown"]);

/**
 * Has a body accepted `variations` times; gives the jobs. While nobody can take it, it is sent again
 * under the same idempotency key, and `waiting(error)` is told each time.
 */
export async function accept(client, body, variations, { signal, waiting }) {
  const headers = { "Idempotency-Key": freshKey() };
  if (variations === 1)
    return [
      await patiently(() => client.post("/v1/jobs", body, { headers, signal }), signal, waiting),
    ];
  const many = { priority: "normal", ...body, variations };
  const batch = await patiently(
    () => client.post("/v1/batches", many, { headers, signal }),
    signal,
    waiting,
  );
  const query = { batch_id: batch.id, limit: variations };
  const { data } = await patiently(
    () => client.get("/v1/jobs", query, { signal }),
    signal,
    waiting,
  );
  return data.toSorted((one, other) => (one.id < other.id ? -1 : 1));
}

/** Asks what would become of a body, without its becoming anything. */
export function requestEstimate(client, body) {
  return client.post("/v1/jobs", { ...body, dry_run: true });
}

async function patiently(act, signal, waiting) {
  for (;;) {
    try {
      return await act();
    } catch (error) {
      if (!isPassing(error) || !PASSING.has(error.code)) throw error;
      waiting(error);
      await pause((error.retryAfter ?? 1) * 1000, signal);
    }
  }
}

function pause(milliseconds, signal) {
  return new Promise((go, stop) => {
    const timer = setTimeout(go, milliseconds);
    signal.addEventListener(
      "abort",
      () => {
        clearTimeout(timer);
        stop(signal.reason);
      },
      { once: true },
    );
  });
}

/** 128 random bits; `crypto.randomUUID` is only there on secure origins. */
function freshKey() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) =>
    byte.toString(16).padStart(2, "0"),
  ).join("");
}
