// What an operator wants to know first, in words: does it flow, and if not, why and what to do.
import { el } from "../parts/dom.js";
import { count, moment, seconds } from "../parts/words.js";
import { link } from "./places.js";

/** Why no new call is made: what it means, and what to do. */
export const REASONS = {
  paused: [
    "Paused by an operator",
    "Nothing new is begun until somebody resumes the queue. Deadlines count all the same.",
  ],
  storage: [
    "The storage is away",
    "No picture is bought that could not be kept; what is bought waits to be stored. See the storage and its keys.",
  ],
  provider_credits: [
    "The provider's credits are spent",
    "The account is asked about again every half minute. Add credits at 1min.ai.",
  ],
  provider_down: [
    "The provider is down",
    "The circuit is open: one call at a time tries whether it is back, and nothing fails meanwhile.",
  ],
  provider_rate: [
    "The provider asked us to slow down",
    "New calls go on by themselves when its time is over.",
  ],
  provider_auth: [
    "No provider key works",
    "Every key was refused. Give the workers a living one (DARKROOM_ONEMIN_API_KEY); dead ones are asked about every 15 s.",
  ],
};
const SWEEP_LATE_SECONDS = 30;
const OLD_SECONDS = 60;

/** Gives `{kind, head, words}` for each thing that keeps jobs waiting, the worst first. */
export function verdicts(now) {
  return [
    ...redis(now),
    ...workers(now),
    ...gate(now),
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
  return [{ kind: "bad", head: "No worker makes pictures", words }];
}

function gate(now) {
  const queue = now.queues.find((one) => one.name === "generate");
  if (!queue.closed) return [];
  const [head, words] = REASONS[queue.closed] ?? [queue.closed, ""];
  return [
    {
      kind: queue.closed === "paused" || queue.closed === "provider_rate" ? "wait" : "bad",
      head,
      words,
      reason: queue.closed,
      queue: queue.paused ? "generate" : null,
    },
  ];
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
      words: `${count(now.webhooks.pending, "delivery waits", "deliveries wait")}. Start a worker with -Q deliver.`,
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
        " for it to be well. Each is asked again, ever more rarely; nobody else is held up.",
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
  if (queue.closed || queue.oldest_age_seconds < OLD_SECONDS) return [];
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
