// Create jobs exactly once: retries reuse the idempotency key.
import { isPassing } from "../shared/api.js";

/** Reasons for refusal that pass by themselves. */
const PASSING = new Set(["away", "redis_down", "not_ready", "accept_unknown", "outcome_unknown"]);

/**
 * Create `variations` jobs of a body; return them. While the service cannot accept them, retry
 * under the same idempotency key, calling `waiting(error)` each time.
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

/** Request an estimate for a body, without creating a job. */
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

/** 128 random bits; `crypto.randomUUID` exists only on secure origins. */
function freshKey() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) =>
    byte.toString(16).padStart(2, "0"),
  ).join("");
}
