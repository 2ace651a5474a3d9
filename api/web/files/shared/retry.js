// Whether a failed job is worth a retry, in the same words on every page.

/** Explain `retryable` of a job's error. */
export function retryWords({ retryable }) {
  return retryable
    ? "Retrying may help."
    : "The same request would fail again: change it before you send it.";
}
