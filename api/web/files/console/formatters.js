// Shared formatting of jobs, deliveries, times and tables.
import { el } from "../shared/dom.js";
import { ago, moment, number } from "../shared/format.js";
import { link } from "./router.js";

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
const ENDPOINT_KINDS = { healthy: "good", failing: "wait", disabled: "bad" };
const ENDS = {
  running: ["busy", "Running"],
  succeeded: ["good", "Succeeded"],
  failed: ["bad", "Failed"],
  canceled: ["", "Canceled"],
  retried: ["wait", "Retried"],
  held_back: ["wait", "On hold"],
  released: ["", "Returned"],
  worker_lost: ["bad", "Worker lost"],
};
/** Why a queued job waits, in words. */
export const WAITS = {
  queue: "for its turn",
  retry: "for its next attempt",
  tenant_limit: "for its tenant's limit",
  budget: "for its tenant's budget",
  provider_rate: "for the provider's rate limit",
  model_rate: "for its model's rate limit",
  provider_down: "for the provider to recover",
  provider_credits: "for credits",
  provider_auth: "for a valid provider key",
  storage: "for the storage",
  image_host: "for the image host",
  paused: "paused",
};

/** A job's status, with its step if it runs, or the reason if it waits. */
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

export function endpointBadge(status) {
  return el("span", { class: `badge ${ENDPOINT_KINDS[status]}` }, status);
}

export function endBadge(outcome) {
  const [kind, words] = ENDS[outcome] ?? ["", outcome];
  return el("span", { class: `badge ${kind}` }, words);
}

/** A relative time with the exact time as its tooltip; `otherwise` if there is none. */
export function when(at, otherwise = "–") {
  return at
    ? el("time", { datetime: at, title: moment(at), class: "when" }, ago(at))
    : el("span", { class: "soft" }, otherwise);
}

export function jobLink(id, words = id) {
  return el("a", { class: "mono", href: link(`jobs/${id}`), data: { keep: id } }, words);
}

export function tenantLink(name) {
  return el("a", { class: "long", href: link(`tenants/${encodeURIComponent(name)}`) }, name);
}

/** A limit, or that there is none. */
export function limit(value) {
  return value === null ? noLimit() : number(value);
}

export function noLimit() {
  return el("span", { class: "soft" }, "no limit");
}

/** Text from outside, of any length, language and direction. */
export function words(text) {
  return el("span", { class: "long", dir: "auto" }, text);
}

/** A table in a card; `rows` are lists of cells. On narrow screens each row becomes a list. */
export function cardTable(label, columns, rows) {
  const head = columns.map((one) => el("th", { scope: "col" }, one));
  return el(
    "div",
    { class: "table-frame", tabindex: 0, role: "region", "aria-label": label },
    el(
      "table",
      {},
      el("thead", {}, el("tr", {}, head)),
      el(
        "tbody",
        {},
        rows.map((cells) => tableRow(columns, cells)),
      ),
    ),
  );
}

/** A row whose cells carry their column names, for the list layout. */
export function tableRow(columns, cells) {
  const all = cells.map((cell, at) => el("td", { data: { label: columns[at] } }, cell));
  return el("tr", {}, all);
}

/** A list of name and value pairs; pairs without a value are left out. */
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

/** A heading for a card. */
export function card(heading, tools, ...children) {
  return el(
    "section",
    { class: "card" },
    el("header", {}, el("h2", { class: "grow" }, heading), tools),
    children,
  );
}
