// A summary of the service's health: what stops jobs, why, and what to do.
import { el } from "../shared/dom.js";
import { count, moment, seconds } from "../shared/format.js";
import { link } from "./router.js";

/** Reasons for a hold of provider calls: a heading and what to do. */
export const REASONS = {
  paused: [
    "Paused by an operator",
    "No new jobs start until an operator resumes the queue. Deadlines still apply.",
  ],
  storage: [
    "The storage is unavailable",
    "No new provider calls are made, and images already paid for wait to be stored. Check the storage and its access keys.",
  ],
  image_host: [
    "Images cannot be downloaded",
    "No new provider calls are made, and images already paid for are downloaded when their host responds. Check that the workers can reach it, and DARKROOM_ONEMIN_IMAGE_HOSTS.",
  ],
  provider_credits: [
    "The provider's credits are spent",
    "A test call is made every 30 seconds. Add credits at 1min.ai.",
  ],
  provider_down: [
    "Provider calls fail",
    "The circuit breaker is open: one test call at a time checks whether the provider is back. Jobs wait until then.",
  ],
  provider_rate: [
    "The provider's rate limit is reached",
    "Calls resume when the time named by the provider is over.",
  ],
  provider_auth: [
    "No provider key works",
    "There is no provider key, or each is rejected. Add a valid one with `darkroom provider-keys add`, or in DARKROOM_ONEMIN_API_KEY; rejected keys are checked again every 15 s.",
  ],
};

/** The scope of a hold: all calls, or one key, team or model. */
export function holdSubject(hold, keys) {
  if (hold.scope === "all") return hold.image_host ? `all calls (${hold.image_host})` : "all calls";
  const key = hold.scope === "key" && keys.find((one) => one.id === hold.subject);
  if (key) return `key ${keyName(key)}`;
  return `${hold.scope} ${hold.subject}`;
}

/** A provider key as its masked end and its id. */
export function keyName({ id, masked }) {
  return masked ? `${masked} (${id})` : id;
}
const SWEEP_LATE_SECONDS = 30;
const OLD_SECONDS = 60;

/** Return `{kind, head, words}` for each problem, the worst first. */
export function verdicts(now) {
  return [
    ...redis(now),
    ...workers(now),
    ...gate(now),
    ...parts(now),
    ...deliver(now),
    ...sweep(now),
    ...archiving(now),
    ...backlog(now),
  ];
}

/** A box for one problem. */
export function verdictBox({ kind, head, words }, tools) {
  return el(
    "div",
    { class: `notice ${kind} verdict`, role: kind === "good" ? null : "status" },
    el("strong", {}, head),
    words && el("p", {}, words),
    tools,
  );
}

export const FLOWS = {
  kind: "good",
  head: "Everything works",
  words: "Nothing is on hold, and the workers keep up.",
};

/** The threshold of the alert DarkroomHistoryBehind. */
const BEHIND_SECONDS = 900;

function archiving(now) {
  const { lag_seconds: lag, refused_jobs: refused } = now.history;
  const found = [];
  if (lag > BEHIND_SECONDS)
    found.push({
      kind: "wait",
      head: `Final jobs have not moved to the history for ${seconds(lag)}`,
      words:
        "The database is unreachable, or no worker archives. Final jobs stay in Redis; see the runbook DarkroomHistoryBehind.",
    });
  if (refused)
    found.push({
      kind: "wait",
      head: `${count(refused, "job")} cannot move to the history`,
      words:
        "Such jobs stay in Redis and are tried again every hour. The workers log each as “job cannot be archived”; see the runbook DarkroomHistoryRefusesJobs.",
    });
  return found;
}

function redis(now) {
  return now.redis.faults.map((fault) => ({
    kind: "bad",
    head: "A problem with Redis",
    words: fault,
  }));
}

function workers(now) {
  const waiting = now.jobs.queued;
  if (now.workers.generate.processes > 0) return [];
  const words = waiting
    ? `${count(waiting, "job waits", "jobs wait")} for a worker. Start one.`
    : "New jobs would wait. Start a worker.";
  return [{ kind: "bad", head: "No worker generates images", words }];
}

function gate(now) {
  const queue = now.queues.find((one) => one.name === "generate");
  if (!queue.blocked_by) return [];
  const isOfKeys = queue.blocked_by === "paused" && !queue.paused;
  const [head, words] = isOfKeys
    ? ["Every provider key is paused", "No new jobs start until an operator resumes a key."]
    : (REASONS[queue.blocked_by] ?? [queue.blocked_by, ""]);
  return [
    {
      kind: queue.blocked_by === "paused" || queue.blocked_by === "provider_rate" ? "wait" : "bad",
      head,
      words,
      reason: queue.blocked_by,
      queue: queue.paused ? "generate" : null,
    },
  ];
}

/** Holds of a key or a model that leave the others working. */
function parts(now) {
  const { holds, keys, removed_models } = now.gate;
  const closed = now.queues.find((one) => one.name === "generate").blocked_by;
  const held = holds
    .filter(({ scope, state, reason }) => scope !== "all" && state !== "over" && reason !== closed)
    .map((hold) => ({
      kind: "wait",
      head: `On hold: ${holdSubject(hold, keys)}`,
      words: `${REASONS[hold.reason]?.[0] ?? hold.reason}. Other calls are not affected; a test call is made at ${moment(hold.until)}.`,
    }));
  const dead = keys
    .filter((key) => key.dead_since && closed !== "provider_auth")
    .map((key) => ({
      kind: "wait",
      head: `The provider rejects key ${keyName(key)}`,
      words: "The other keys are still used. Replace it; it is checked again every 15 s.",
    }));
  const unreadable = keys
    .filter((key) => key.state === "unreadable")
    .map((key) => ({
      kind: "wait",
      head: `A worker cannot open key ${keyName(key)}`,
      words:
        "It does not use the key. Set DARKROOM_SEAL_KEYS of all workers to the value of the API, or add the key again.",
    }));
  const removed = removed_models.map((model) => ({
    kind: "wait",
    head: `The provider no longer offers ${model}`,
    words:
      "Jobs for it are refused with model_unavailable, except one per minute, which checks whether the model is back.",
  }));
  return [...held, ...dead, ...unreadable, ...removed];
}

function deliver(now) {
  const queue = now.queues.find((one) => one.name === "deliver");
  const found = [];
  if (queue.paused)
    found.push({
      kind: "wait",
      head: "Webhooks are paused by an operator",
      words: `Since ${moment(queue.paused_at)}. No webhooks are sent.`,
      queue: "deliver",
    });
  if (now.workers.deliver.processes === 0)
    found.push({
      kind: "bad",
      head: "No worker sends webhooks",
      words: `${count(now.webhooks.pending, "delivery waits", "deliveries wait")}. Start one: darkroom worker deliver.`,
    });
  const failing = now.webhooks.endpoints_failing + now.webhooks.endpoints_disabled;
  if (failing && now.webhooks.parked) {
    const parked = el(
      "a",
      { href: link("deliveries", { status: "parked" }) },
      count(now.webhooks.parked, "delivery waits", "deliveries wait"),
    );
    found.push({
      kind: "wait",
      head: `${count(failing, "webhook endpoint")} ${failing === 1 ? "does" : "do"} not accept deliveries`,
      words: el(
        "span",
        {},
        parked,
        " for them. Failing endpoints are retried with growing delays; disabled ones must be enabled. Other endpoints are not affected.",
      ),
    });
  }
  return found;
}

function sweep(now) {
  if (now.sweep_age_seconds < SWEEP_LATE_SECONDS) return [];
  return [
    {
      kind: "bad",
      head: "The sweep does not run",
      words: `Retries, deadlines and lost workers have not been handled for ${seconds(now.sweep_age_seconds)}. Check the logs of the workers, which run it.`,
    },
  ];
}

function backlog(now) {
  const queue = now.queues.find((one) => one.name === "generate");
  if (queue.blocked_by || queue.oldest_age_seconds < OLD_SECONDS) return [];
  const limits = now.jobs.queued - queue.depth;
  const more =
    limits > 0
      ? ` ${count(limits, "of them waits", "of them wait")} for a tenant's limit, or as part of a batch that is still being queued.`
      : "";
  return [
    {
      kind: "wait",
      head: `The oldest job has waited ${seconds(queue.oldest_age_seconds)}`,
      words: el(
        "span",
        {},
        el(
          "a",
          { href: link("jobs", { status: "queued" }) },
          count(now.jobs.queued, "job waits", "jobs wait"),
        ),
        ` for ${count(now.workers.generate.threads, "worker thread")}.${more}`,
      ),
    },
  ];
}
