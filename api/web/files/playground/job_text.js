// States, steps and warnings of the API in words.
import { count, seconds } from "../shared/format.js";

const STATES = {
  queued: ["Queued", "wait"],
  running: ["Running", "busy"],
  succeeded: ["Succeeded", "good"],
  failed: ["Failed", "bad"],
  canceled: ["Canceled", ""],
};

const STEPS = {
  claimed: "A worker took the job",
  calling: "The provider generates the image",
  fetching: "The image is downloaded, checked and stored",
};

const WAITING = {
  queue: "Waiting for its turn",
  retry: "Waiting for its next attempt",
  tenant_limit: "Waiting: your limit of concurrent jobs is reached",
  budget: "Waiting: the credits of this day or month are used up",
  provider_rate: "Waiting: the provider's rate limit is reached",
  model_rate: "Waiting: the rate limit of this model is reached",
  provider_down: "The provider is down; Darkroom retries automatically",
  provider_credits: "The provider account has no credits left",
  storage: "The storage is unavailable; Darkroom retries automatically",
  image_host: "The image host cannot be reached; paid images are downloaded when it is back",
  provider_auth: "The service has no valid provider key",
  paused: "An operator has paused the queue",
};

const WARNINGS = {
  size: "the size differs from the request",
  ratio: "the aspect ratio differs from the request",
  format: "the format differs from the request",
  flat: "nearly a single colour: the provider may have refused the prompt",
  prompt: "the provider reports a different prompt",
  seed: "the provider reports a different seed",
  model: "the provider reports a different model",
  record: "the provider's record is inconsistent",
};

export const STATUSES = Object.keys(STATES);

/** ("queued") → ["Queued", "wait"]: the text and kind of a badge. */
export function statusWords(status) {
  return STATES[status] ?? [status, ""];
}

/** Describe an event of a job. */
export function changeWords({ status, step, attempt }, isFirst) {
  const again = attempt > 1 ? ` (attempt ${attempt})` : "";
  if (status === "running") return (STEPS[step] ?? "It runs") + again;
  if (status === "queued") return isFirst ? "Accepted: stored on disk and queued" : "Queued again";
  return (
    { succeeded: "The image is ready", failed: "Failed", canceled: "Canceled" }[status] ?? status
  );
}

/** Why a job waits, its position and its estimated start; "" if it does not wait. */
export function waitingWords({ status, waiting_on, position, eta_seconds }) {
  if (status !== "queued") return "";
  const why = WAITING[waiting_on] ?? "Waiting";
  const place = position ? `${count(position, "job")} of your jobs ahead` : "";
  const when = eta_seconds === null ? "" : `starts in about ${seconds(eta_seconds)}`;
  return `${[why, place, when].filter(Boolean).join("; ")}.`;
}

export function warningWords(word) {
  return WARNINGS[word] ?? word;
}

export function isFinal({ status }) {
  return ["succeeded", "failed", "canceled"].includes(status);
}
