// What an operator wants to know first, in words: does it flow, and if not, why and what to do.
import { el } from "../shared/dom.js";
import { count, moment, seconds } from "../shared/format.js";
import { link } from "./router.js";

/** Why no new call is made, of all or of some key or model: what it means, and what to do. */
export const REASONS = {
  paused: [
    "Paused by an operator",
    "Nothing new is begun until somebody resumes the queue. Deadlines count all the same.",
  ],
  storage: [
    "The storage is away",
    "No image is bought that could not be kept; paid ones wait to be stored. Check the storage and its keys.",
  ],
  image_host: [
    "Images cannot be fetched",
    "Nothing new is bought; paid images are fetched as soon as their host answers. Check whether the workers reach it, and DARKROOM_ONEMIN_IMAGE_HOSTS.",
  ],
  provider_credits: [
    "The provider's credits are spent",
    "One call tries again every half minute. Add credits at 1min.ai.",
  ],
  provider_down: [
    "Calls of the provider fail",
    "The circuit is open: one call at a time tries whether it is back, and no job fails meanwhile.",
  ],
  provider_rate: [
    "The provider asked us to slow down",
    "New calls go on by themselves when its time is over.",
  ],
  provider_auth: [
    "No provider key works",
    "Every key was refused. Give the workers a working one (DARKROOM_ONEMIN_API_KEY); dead ones are checked every 15 s.",
  ],
};

/** What a hold is about: all calls, or those of one key, team or model. */
export function holdSubject(hold, keys) {
  if (hold.scope === "all") return hold.image_host ? `all calls (${hold.image_host})` : "all calls";
  const key = hold.scope === "key" && keys.find((one) => one.id === hold.subject);
  if (key) return `key ${keyName(key)}`;
  return `${hold.scope} ${hold.subject}`;
}

/** How a provider key is shown: its end and its id. */
export function keyName({ id, masked }) {
  return masked ? `${masked} (${id})` : id;
}
const SWEEP_LATE_SECONDS = 30;
const OLD_SECONDS = 60;

/** Gives `{kind, head, words}` for each thing that keeps jobs waiting, the worst first. */
export function verdicts(now) {
  return [
    ...redis(now),
    ...workers(now),
    ...gate(now),
    ...parts(now),
    ...deliver(now),
    ...sweep(now),
    ...backlog(now),
  ];
}

/** One thing in a box. */
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
  head: "Everything flows",
  words: "Nothing is held, and the workers keep up.",
};

function redis(now) {
  return now.redis.faults.map((fault) => ({
    kind: "bad",
    head: "Redis is not fit for jobs",
    words: fault,
  }));
}

function workers(now) {
  const waiting = now.jobs.queued;
  if (now.workers.generate.processes > 0) return [];
  const words = waiting
    ? `${count(waiting, "job waits", "jobs wait")} and nobody takes them. Start a worker.`
    : "Nothing would be done with a new job. Start a worker.";
  return [{ kind: "bad", head: "No worker makes images", words }];
}

function gate(now) {
  const queue = now.queues.find((one) => one.name === "generate");
  if (!queue.blocked_by) return [];
  const [head, words] = REASONS[queue.blocked_by] ?? [queue.blocked_by, ""];
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

/** What holds a key or a model while the others go on. */
function parts(now) {
  const { holds, keys, removed_models } = now.gate;
  const closed = now.queues.find((one) => one.name === "generate").blocked_by;
  const held = holds
    .filter(({ scope, state, reason }) => scope !== "all" && state !== "over" && reason !== closed)
    .map((hold) => ({
      kind: "wait",
      head: `Held: ${holdSubject(hold, keys)}`,
      words: `${REASONS[hold.reason]?.[0] ?? hold.reason}. The others go on; one call tries again at ${moment(hold.until)}.`,
    }));
  const dead = keys
    .filter((key) => key.dead_since && closed !== "provider_auth")
    .map((key) => ({
      kind: "wait",
      head: `The provider refuses key ${keyName(key)}`,
      words:
        "The other keys go on. Replace it in DARKROOM_ONEMIN_API_KEY; it is checked every 15 s.",
    }));
  const removed = removed_models.map((model) => ({
    kind: "wait",
    head: `The provider no longer offers ${model}`,
    words: "Jobs for it are refused with model_unavailable, but for one a minute that asks again.",
  }));
  return [...held, ...dead, ...removed];
}

function deliver(now) {
  const queue = now.queues.find((one) => one.name === "deliver");
  const found = [];
  if (queue.paused)
    found.push({
      kind: "wait",
      head: "Webhooks are paused by an operator",
      words: `Since ${moment(queue.paused_at)}. Nothing is told to anybody.`,
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
      head: `${count(failing, "receiver")} of webhooks ${failing === 1 ? "does" : "do"} not take them`,
      words: el(
        "span",
        {},
        parked,
        " for them. A failing one is asked again, ever more rarely; a disabled one is not until it is enabled. Nobody else is held up.",
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
      head: "Nobody sweeps",
      words: `For ${seconds(now.sweep_age_seconds)} nobody has looked after retries, deadlines and lost workers.`,
    },
  ];
}

function backlog(now) {
  const queue = now.queues.find((one) => one.name === "generate");
  if (queue.blocked_by || queue.oldest_age_seconds < OLD_SECONDS) return [];
  const limits = now.jobs.queued - queue.depth;
  const more =
    limits > 0
      ? ` ${count(limits, "of them waits", "of them wait")} for a tenant's own limit, or to be laid out.`
      : "";
  return [
    {
      kind: "wait",
      head: `The oldest has waited ${seconds(queue.oldest_age_seconds)}`,
      words: el(
        "span",
        {},
        el(
          "a",
          { href: link("jobs", { status: "queued" }) },
          count(now.jobs.queued, "job waits", "jobs wait"),
        ),
        ` for ${count(now.workers.generate.threads, "thread")}.${more}`,
      ),
    },
  ];
}
