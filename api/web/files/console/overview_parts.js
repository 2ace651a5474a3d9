// The numbers and cards of the overview.
import { el } from "../shared/dom.js";
import { bytes, count, moment, number, seconds, title } from "../shared/format.js";
import { card, facts, when } from "./formatters.js";
import { holdSubject, keyName, REASONS } from "./health_summary.js";
import { link } from "./router.js";

/** The tiles on top, each a link to the list that it counts. */
export function tilesOf(now, past, hours) {
  const queue = now.queues.find((one) => one.name === "generate");
  const span = hours === 1 ? "in the last hour" : `in the last ${hours} hours`;
  const created_after = past.totals.since;
  return [
    tile(
      "Waiting",
      number(now.jobs.queued),
      queue.depth ? `the oldest for ${seconds(queue.oldest_age_seconds)}` : "no job waits",
      link("jobs", { status: "queued" }),
      now.jobs.queued ? "wait" : "",
    ),
    tile(
      "In flight",
      number(queue.in_flight),
      `of ${count(now.workers.generate.threads, "thread")}`,
      link("workers"),
      "busy",
    ),
    tile("Accepted", number(past.totals.accepted), span, link("jobs", { created_after })),
    tile(
      "Succeeded",
      number(past.totals.succeeded),
      span,
      link("jobs", { status: "succeeded" }),
      "good",
    ),
    tile(
      "Failed",
      number(past.totals.failed),
      `${span}, ${number(now.jobs.failed)} still in Redis`,
      link("jobs", { status: "failed" }),
      past.totals.failed ? "bad" : "",
    ),
    tile(
      "Pending webhooks",
      number(now.webhooks.pending),
      now.webhooks.parked ? `${number(now.webhooks.parked)} parked` : "none parked",
      link("deliveries"),
      now.webhooks.endpoints_failing ? "bad" : "",
    ),
  ];
}

function tile(name, value, about, href, tone = "") {
  return el(
    "a",
    { class: `tile ${tone}`, href },
    el("span", { class: "label" }, name),
    el("b", {}, value),
    el("span", { class: "soft small-text" }, about),
  );
}

/** The provider: holds, their reasons, and the keys, each with the button that `switchOf(key)` returns. */
export function gateCard(now, switchOf) {
  const { gate } = now;
  const holds = gate.holds.map((hold) =>
    el(
      "li",
      {},
      `${REASONS[hold.reason]?.[0] ?? title(hold.reason)}: ${holdSubject(hold, gate.keys)}, ${holdState(hold)}`,
    ),
  );
  const keys = gate.keys.map((key) =>
    el(
      "li",
      { class: "row apart" },
      el("span", {}, el("code", {}, keyName(key)), keyTeam(key), ": ", keyState(key)),
      switchOf(key),
    ),
  );
  return card(
    "The provider",
    null,
    facts([
      ["Held", holds.length ? el("ul", {}, holds) : "Nothing"],
      ["Keys", keys.length ? el("ul", {}, keys) : "None known yet: no worker has started"],
      ["Models removed", gate.removed_models.join(", ") || "None"],
      ["Models paused", gate.paused_models.join(", ") || "None"],
      ["Models listed", listing(gate.listing)],
      [
        "Rate",
        gate.rate_per_minute
          ? `${number(gate.rate_per_minute)} a minute for each key`
          : "No limit set",
      ],
    ]),
  );
}

/** How the provider's list of models differs from the catalog. */
function listing({ checked_at, error, inactive, new: added }) {
  const parts = [
    ...Object.entries(inactive).map(([model, status]) => `${model} is ${status}`),
    added.length && `${count(added.length, "model")} not in the catalog: ${added.join(", ")}`,
    error && `The last check failed: ${error}`,
  ].filter(Boolean);
  if (!checked_at && !error) return "Not checked yet";
  return parts.length
    ? el(
        "ul",
        {},
        parts.map((part) => el("li", {}, part)),
      )
    : "As in the catalog";
}

function holdState({ state, until, failures_in_a_row, credits_needed, credits_left }) {
  const times = {
    active: `until ${moment(until)}`,
    probing: "a test call is running",
    over: "the next call is a test",
  };
  const failed = failures_in_a_row ? `${number(failures_in_a_row)} failed in a row` : "";
  const credits =
    credits_needed === null
      ? ""
      : `a call needs ${number(credits_needed)} credits, ${number(credits_left)} are left`;
  return [times[state], failed, credits].filter(Boolean).join("; ");
}

function keyTeam({ id, team, label, source }) {
  const parts = [
    team !== id && `of team ${team}`,
    label && `“${label}”`,
    source === "stored" ? "added" : "from the environment",
  ];
  return ` ${parts.filter(Boolean).join(", ")}`;
}

function keyState({ state, dead_since, paused_at, held_by }) {
  if (state === "unreadable") return "unreadable";
  if (state === "paused") return el("span", {}, "paused ", when(paused_at));
  if (dead_since) return el("span", {}, "rejected ", when(dead_since));
  return held_by ? `held: ${REASONS[held_by]?.[0] ?? held_by}` : "in use";
}

/** Failed jobs in Redis, by error code. */
export function failuresCard(now) {
  const codes = Object.entries(now.failed_by_code).sort(([, one], [, other]) => other - one);
  const tools =
    codes.length > 0 &&
    el("a", { class: "button small", href: link("jobs", { status: "failed" }) }, "All failed jobs");
  if (!codes.length)
    return card("Failed jobs in Redis", tools, el("p", { class: "soft" }, "None."));
  const most = codes[0][1];
  return card(
    "Failed jobs in Redis",
    tools,
    el(
      "ul",
      { class: "bars" },
      codes.map(([code, many]) =>
        el(
          "li",
          {},
          el("a", { href: link("jobs", { status: "failed", error_code: code }) }, title(code)),
          el("b", {}, number(many)),
          el("meter", { min: 0, max: most, value: many, "aria-label": `${title(code)}: ${many}` }),
        ),
      ),
    ),
  );
}

/** Workers, Redis, sweep and webhook endpoints. */
export function partsCard(now) {
  const { redis, workers } = now;
  return card(
    "Infrastructure",
    null,
    facts([
      [
        "Workers",
        el(
          "a",
          { href: link("workers") },
          `${count(workers.generate.processes, "process", "processes")} for images, ${number(workers.deliver.processes)} for webhooks`,
        ),
      ],
      [
        "Redis memory",
        redis.limit_bytes
          ? `${bytes(redis.used_bytes)} of ${bytes(redis.limit_bytes)}`
          : `${bytes(redis.used_bytes)}, no limit set`,
      ],
      [
        "Redis durability",
        redis.durable
          ? "Every write is on disk before it is acknowledged"
          : el("strong", {}, "May lose acknowledged writes"),
      ],
      ["Last sweep", `${seconds(now.sweep_age_seconds)} ago`],
      ["Failing endpoints", number(now.webhooks.endpoints_failing)],
      ["Endpoints disabled by failures", number(now.webhooks.endpoints_disabled)],
      ["Total accepted jobs", number(now.totals.accepted)],
      ["Total attempts", `${number(now.totals.started)}, ${number(now.totals.again)} queued again`],
    ]),
  );
}
