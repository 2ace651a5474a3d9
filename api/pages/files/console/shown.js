// How the same things are shown wherever they are shown.
import { el } from "../parts/dom.js";
import { ago, moment } from "../parts/words.js";
import { link } from "./places.js";

const JOB_KINDS = {
  queued: "wait",
  running: "busy",
  succeeded: "good",
  failed: "bad",
  canceled: "",
};
const DELIVERY_KINDS = {
  pending: "wait",
  sending: "busy",
  parked: "wait",
  delivered: "good",
  failed: "bad",
  superseded: "",
};
const ENDS = {
  running: ["busy", "Running"],
  succeeded: ["good", "Succeeded"],
  failed: ["bad", "Failed"],
  canceled: ["", "Canceled"],
  retried: ["wait", "Tried again"],
  held_back: ["wait", "Held back"],
  released: ["", "Given back"],
  worker_lost: ["bad", "Worker lost"],
};
/** Why a queued job is not running, for people. */
export const WAITS = {
  queue: "for its turn",
  retry: "for its next attempt",
  tenant_limit: "for its tenant's limit",
  provider_rate: "for the provider's rate",
  provider_down: "for the provider to be back",
  provider_credits: "for credits",
  provider_auth: "for a provider key that works",
  storage: "for the storage",
  image_host: "for the host of the images",
  paused: "paused",
};

/** A job's status, with the step where it runs and the reason where it waits. */
export function jobBadge(job) {
  const more =
    job.step ?? (job.waiting_on && job.waiting_on !== "queue" ? WAITS[job.waiting_on] : "");
  return el(
    "span",
    { class: "state" },
    el("span", { class: `badge ${JOB_KINDS[job.status]}` }, job.status),
    more && el("span", { class: "soft small-text" }, more),
  );
}

export function deliveryBadge(status) {
  return el("span", { class: `badge ${DELIVERY_KINDS[status]}` }, status);
}

export function endBadge(outcome) {
  const [kind, words] = ENDS[outcome] ?? ["", outcome];
  return el("span", { class: `badge ${kind}` }, words);
}

/** A time as people say it, with the exact one to be seen by pointing at it. */
export function when(at) {
  return at
    ? el("time", { datetime: at, title: moment(at), class: "when" }, ago(at))
    : el("span", { class: "soft" }, "–");
}

export function jobLink(id, words = id) {
  return el("a", { class: "mono", href: link(`jobs/${id}`), data: { keep: id } }, words);
}

export function tenantLink(name) {
  return el("a", { href: link(`tenants/${encodeURIComponent(name)}`) }, name);
}

/** Facts as pairs; those without a value are left out. */
export function facts(pairs) {
  const there = pairs.filter(
    ([, value]) => value !== null && value !== undefined && value !== "" && value !== false,
  );
  return el(
    "dl",
    { class: "facts" },
    there.map(([name, value]) => [el("dt", {}, name), el("dd", {}, value)]),
  );
}

/** A heading over a card. */
export function card(heading, tools, ...children) {
  return el(
    "section",
    { class: "card" },
    el("header", {}, el("h2", { class: "grow" }, heading), tools),
    children,
  );
}
