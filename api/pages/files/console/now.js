// How it stands now, why anything waits, and how it went in the last hours.
import { el, fill } from "../parts/dom.js";
import { bytes, count, moment, number, seconds, title } from "../parts/words.js";
import { actionButton, ask } from "./acting.js";
import { Chart } from "./chart.js";
import { go, link } from "./places.js";
import { card, facts, when } from "./shown.js";
import { FLOWS, REASONS, verdictBox, verdicts } from "./verdict.js";

const HOURS = [1, 6, 24, 48];
const QUEUES = { generate: "Pictures", deliver: "Webhooks" };
/** The history of a long time changes slowly. */
const HISTORY_EVERY_MS = 10_000;

export function now({ client, may, live, place }) {
  const hours = HOURS.includes(Number(place.query.hours)) ? Number(place.query.hours) : 1;
  const said = el("div", { class: "stack tight" });
  const tiles = el("div", { class: "tiles" });
  const below = el("div", { class: "columns" });
  const charts = chartsOf();
  const range = el("div", { class: "choices", role: "group", "aria-label": "How far back" }, HOURS.map((one) => el("a", { class: "button small", href: link("now", { hours: one === 1 ? "" : one }), "aria-current": one === hours ? "true" : null }, one === 1 ? "1 hour" : `${one} hours`)));
  const node = el(
    "div", { class: "stack" },
    el("h1", { class: "unseen" }, "Now"), said, tiles,
    el("section", { class: "stack tight" }, el("div", { class: "row apart" }, el("h2", {}, "The last hours"), range), el("div", { class: "charts" }, charts.map((one) => one.chart.node)), el("p", { class: "soft small-text" }, "Shaded: no new calls were made. Gaps: nobody noted anything, as while Redis or every worker was away.")),
    below,
  );
  let history = null;
  let askedAt = 0;

  async function load(signal) {
    const isDue = Date.now() - askedAt > HISTORY_EVERY_MS;
    const [seen, told] = await Promise.all([client.get("/ops/v1/now", {}, { signal }), isDue ? client.get("/ops/v1/history", { minutes: hours * 60 }, { signal }) : history]);
    if (isDue) askedAt = Date.now();
    history = told;
    const found = verdicts(seen);
    fill(said, (found.length ? found : [FLOWS]).map((one) => verdictBox(one, one.queue && el("div", { class: "row" }, switchOf(one.queue, true)))));
    fill(tiles, tilesOf(seen, told, hours));
    for (const { chart, read } of charts) chart.show(read(told));
    fill(below, el("div", { class: "stack" }, queuesCard(seen), failuresCard(seen)), el("div", { class: "stack" }, gateCard(seen), partsCard(seen)));
  }

  function switchOf(name, isPaused) {
    const verb = isPaused ? "Resume" : "Pause";
    const act = () => turn(name, verb).then((done) => done && live.now());
    return actionButton(may, `${verb} ${QUEUES[name].toLowerCase()}`, act, { drawing: isPaused ? "play" : "pause", kind: isPaused ? "main" : "" });
  }

  function turn(name, verb) {
    const words = {
      Pause: `Nothing new is begun of ${QUEUES[name].toLowerCase()} until somebody resumes it. What is running goes on, and deadlines count.`,
      Resume: `What waits of ${QUEUES[name].toLowerCase()} is begun again at once.`,
    }[verb];
    return ask(`${verb} ${QUEUES[name].toLowerCase()}?`, words, verb, () => client.post(`/ops/v1/queues/${name}/${verb.toLowerCase()}`), () => `${QUEUES[name]}: ${verb.toLowerCase()}d`, { kind: verb === "Pause" ? "bad" : "main" });
  }

  function queuesCard(seen) {
    return card("Queues", null, el("ul", { class: "queues" }, seen.queues.map((queue) =>
      el("li", {},
        el("div", { class: "row apart" }, el("span", { class: "row" }, el("strong", {}, QUEUES[queue.name]), el("span", { class: `badge ${queue.closed ? "wait" : "good"}` }, queue.closed ? title(queue.closed) : "Open")), switchOf(queue.name, queue.paused)),
        el("p", { class: "soft small-text" }, `${number(queue.depth)} ready or due${queue.depth ? `, the oldest for ${seconds(queue.oldest_age_seconds)}` : ""} · ${number(queue.in_flight)} in flight${queue.paused_at ? ` · paused since ${moment(queue.paused_at)}` : ""}`)))));
  }

  return { heading: "Now", node, load, seconds: 2, turn: null };
}

/** What happened in the minute before each point: short steps alone would only show noise. */
function perMinute({ points, step_seconds }, name) {
  const column = points[name];
  const steps = Math.max(Math.round(60 / step_seconds), 1);
  return column.map((value, index) => {
    if (value === null) return null;
    const known = column.slice(Math.max(index - steps + 1, 0), index + 1).filter((one) => one !== null);
    return (known.reduce((all, one) => all + one, 0) / known.length) * (60 / step_seconds);
  });
}

function chartsOf() {
  const chart = (heading, lines, words, read) => ({
    chart: new Chart({ heading, lines, words }),
    read: (told) => ({ at: told.points.at.map((at) => Date.parse(at)), closed: told.points.closed, values: Object.fromEntries(lines.map(({ name }) => [name, read(told, name)])) }),
  });
  const rate = (value) => number(Math.round(value * 10) / 10);
  const plain = (told, name) => told.points[name];
  return [
    chart("Jobs per minute", [{ name: "accepted", label: "Accepted", tone: "busy" }, { name: "succeeded", label: "Succeeded", tone: "good" }, { name: "failed", label: "Failed", tone: "bad" }], rate, perMinute),
    chart("Waiting and running", [{ name: "waiting", label: "Waiting", tone: "wait" }, { name: "running", label: "Running", tone: "busy" }], (value) => number(Math.round(value)), plain),
    chart("Oldest waiting", [{ name: "oldest_age_seconds", label: "Oldest", tone: "wait" }], (value) => (value ? seconds(value) : "0 s"), plain),
    chart("Retries and webhooks", [{ name: "again", label: "Retries a minute", tone: "bad" }, { name: "webhooks", label: "Webhooks owed", tone: "busy" }], rate, (told, name) => (name === "again" ? perMinute(told, name) : told.points[name])),
  ];
}

function tilesOf(seen, told, hours) {
  const queue = seen.queues.find((one) => one.name === "generate");
  const span = hours === 1 ? "in the last hour" : `in the last ${hours} hours`;
  const created_after = told.totals.since;
  return [
    tile("Waiting", number(seen.jobs.queued), queue.depth ? `the oldest for ${seconds(queue.oldest_age_seconds)}` : "nobody waits", link("jobs", { status: "queued" }), seen.jobs.queued ? "wait" : ""),
    tile("In flight", number(queue.in_flight), `of ${count(seen.workers.generate.threads, "thread")}`, link("workers"), "busy"),
    tile("Accepted", number(told.totals.accepted), span, link("jobs", { created_after })),
    tile("Succeeded", number(told.totals.succeeded), span, link("jobs", { status: "succeeded" }), "good"),
    tile("Failed", number(told.totals.failed), `${span}, ${number(seen.jobs.failed)} kept`, link("jobs", { status: "failed" }), told.totals.failed ? "bad" : ""),
    tile("Webhooks owed", number(seen.webhooks.pending), seen.webhooks.parked ? `${number(seen.webhooks.parked)} parked` : "none parked", link("deliveries"), seen.webhooks.endpoints_failing ? "bad" : ""),
  ];
}

function tile(name, value, about, href, tone = "") {
  return el("a", { class: `tile ${tone}`, href }, el("span", { class: "label" }, name), el("b", {}, value), el("span", { class: "soft small-text" }, about));
}

function gateCard(seen) {
  const { gate } = seen;
  const holds = gate.holds.map((hold) => el("li", {}, `${REASONS[hold.reason]?.[0] ?? title(hold.reason)}, until ${moment(hold.until)}`));
  const dead = gate.keys.dead.map((key) => el("li", {}, el("code", {}, key.id), " refused ", when(key.since)));
  return card("The provider", null, facts([
    ["Circuit", { closed: "Closed: calls are made", open: "Open: no calls are made", probing: "Probing: one call tries it" }[gate.circuit]],
    ["Failed in a row", number(gate.failures_in_a_row)],
    ["Held", holds.length ? el("ul", {}, holds) : "By nothing"],
    ["Credits", creditWords(gate.credits)],
    ["Keys in use", gate.keys.living.length ? el("span", { class: "mono" }, gate.keys.living.join(", ")) : "Not told with one key and no rate"],
    ["Dead keys", dead.length ? el("ul", {}, dead) : "None"],
    ["Rate", gate.rate_per_minute ? `${number(gate.rate_per_minute)} a minute for each key` : "No limit of ours"],
  ]));
}

function creditWords({ blocked, needed, left }) {
  const told = needed === null ? "" : `: a call needs ${number(needed)}, ${number(left)} are left`;
  return blocked ? `Spent${told}` : "Not known to be short";
}

function failuresCard(seen) {
  const codes = Object.entries(seen.failed_by_code).sort(([, one], [, other]) => other - one);
  const tools = codes.length > 0 && el("button", { type: "button", class: "button small", onclick: () => go("jobs", { status: "failed" }) }, "All failed jobs");
  if (!codes.length) return card("Failed jobs that are kept", tools, el("p", { class: "soft" }, "None."));
  const most = codes[0][1];
  return card("Failed jobs that are kept", tools, el("ul", { class: "bars" }, codes.map(([code, many]) =>
    el("li", {}, el("a", { href: link("jobs", { status: "failed", error_code: code }) }, title(code)), el("b", {}, number(many)), el("meter", { min: 0, max: most, value: many, "aria-label": `${title(code)}: ${many}` })))));
}

function partsCard(seen) {
  const { redis, workers } = seen;
  return card("What it stands on", null, facts([
    ["Workers", el("a", { href: link("workers") }, `${count(workers.generate.processes, "process", "processes")} for pictures, ${number(workers.deliver.processes)} for webhooks`)],
    ["Redis memory", redis.limit_bytes ? `${bytes(redis.used_bytes)} of ${bytes(redis.limit_bytes)}` : `${bytes(redis.used_bytes)}, no limit set`],
    ["Redis durability", redis.durable ? "Every write is on disk before it is answered" : el("strong", {}, "May lose what it acknowledged")],
    ["Last sweep", `${seconds(seen.sweep_age_seconds)} ago`],
    ["Receivers failing", number(seen.webhooks.endpoints_failing)],
    ["Receivers switched off", number(seen.webhooks.endpoints_disabled)],
    ["Ever accepted", number(seen.totals.accepted)],
    ["Ever attempted", `${number(seen.totals.started)}, ${number(seen.totals.again)} queued again`],
  ]));
}
