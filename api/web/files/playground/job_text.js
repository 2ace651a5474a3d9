// What the words of the API mean, for whoever looks at a job.
import { count, seconds } from "../shared/format.js";

const STATES = {
  queued: ["Queued", "wait"],
  running: ["Running", "busy"],
  succeeded: ["Succeeded", "good"],
  failed: ["Failed", "bad"],
  canceled: ["Canceled", ""],
};

const STEPS = {
  claimed: "A worker has taken it",
  calling: "The provider makes the image",
  fetching: "The image is fetched, checked and stored",
};

const WAITING = {
  queue: "It waits for its turn",
  retry: "It waits for its next attempt",
  tenant_limit: "As many of your jobs run as may run at once",
  provider_rate: "The provider takes no more calls just now",
  provider_down: "The provider is down; it is asked again by itself",
  provider_credits: "The account with the provider has no credits left",
  storage: "The image is bought, and stored as soon as the storage is back",
  image_host: "The host of the images cannot be reached; paid images are fetched when it is back",
  provider_auth: "The service has no provider key that works",
  paused: "An operator has paused the queue",
};

const WARNINGS = {
  size: "another size than was asked for",
  ratio: "another ratio than was asked for",
  format: "another format than was asked for",
  flat: "nearly one colour: it may be a refused prompt",
  prompt: "the provider names another prompt",
  seed: "the provider names another seed",
  model: "the provider names another model",
  record: "the provider's record is odd",
};

export const STATUSES = Object.keys(STATES);

/** ("queued") → ["Queued", "wait"]: a word, and the kind of badge. */
export function statusWords(status) {
  return STATES[status] ?? [status, ""];
}

/** What happens at a change of a job, as its events tell it. */
export function changeWords({ status, step, attempt }, isFirst) {
  const again = attempt > 1 ? ` (attempt ${attempt})` : "";
  if (status === "running") return (STEPS[step] ?? "It runs") + again;
  if (status === "queued")
    return isFirst ? "Accepted: it is on disk, and in the queue" : "Back in the queue";
  return (
    { succeeded: "The image is there", failed: "It failed", canceled: "It was canceled" }[status] ??
    status
  );
}

/** Why a job waits, where it stands and when it is begun; "" for one that does not wait. */
export function waitingWords({ status, waiting_on, position, eta_seconds }) {
  if (status !== "queued") return "";
  const why = WAITING[waiting_on] ?? "It waits";
  const place = position ? `${count(position, "job")} of yours before it` : "";
  const when = eta_seconds === null ? "" : `begun in about ${seconds(eta_seconds)}`;
  return `${[why, place, when].filter(Boolean).join("; ")}.`;
}

export function warningWords(word) {
  return WARNINGS[word] ?? word;
}

export function isFinal({ status }) {
  return ["succeeded", "failed", "canceled"].includes(status);
}
