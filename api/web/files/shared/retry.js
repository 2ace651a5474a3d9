// Whether a failed job is worth a retry: one statement, the same on every page.

/** Says what `retryable` of a job's error means. */
export function retryWords({ retryable }) {
  return retryable
    ? "Retrying may help."
    : "The same request would fail again: change it before you send it.";
}
