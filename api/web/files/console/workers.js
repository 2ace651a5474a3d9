// The worker processes that live, and what each does at this moment.
import { el, fill } from "../shared/dom.js";
import { count, number, seconds } from "../shared/format.js";
import { empty, note } from "../shared/notices.js";
import { cardTable, jobLink, tenantLink, when } from "./formatters.js";
import { preserveFocus } from "./listing.js";

const QUEUES = { generate: "makes images", deliver: "sends webhooks" };

export function workers({ client }) {
  const list = el("div", { class: "stack" });
  const sum = el("p", { class: "soft" });
  const node = el("div", { class: "stack" }, el("h1", {}, "Workers"), sum, list);

  async function load(signal) {
    const told = await client.get("/ops/v1/workers", {}, { signal });
    const at = Date.parse(told.at);
    const threads = told.data.reduce((all, one) => all + one.threads, 0);
    const held = told.data.reduce((all, one) => all + one.held.length, 0) + told.untold.length;
    fill(
      sum,
      told.data.length
        ? `${count(told.data.length, "process", "processes")}, ${count(threads, "thread")}, ${number(held)} at work. Each tells what it holds every few seconds.`
        : "",
    );
    const cards = told.data.map((one) => workerCard(one, at));
    preserveFocus(list, () =>
      fill(
        list,
        cards.length ? cards : nobody(),
        told.untold.length > 0 && untoldCard(told.untold, at),
      ),
    );
  }

  return { heading: "Workers", node, load, seconds: 2 };
}

function nobody() {
  return empty(
    "warning",
    "No worker lives",
    el(
      "p",
      {},
      "Jobs are accepted and wait. Start one: ",
      el("code", {}, "darkroom worker generate"),
      ".",
    ),
  );
}

function workerCard(one, at) {
  const late = Date.parse(one.lease_until) < at;
  return el(
    "section",
    { class: "card" },
    el(
      "header",
      {},
      el("h2", { class: "grow long" }, one.host ? `${one.host}, process ${one.pid}` : one.name),
      el("span", { class: `badge ${late ? "bad" : "good"}` }, late ? "Silent" : "Alive"),
      el("span", { class: "tag" }, QUEUES[one.queue] ?? one.queue),
    ),
    el(
      "p",
      { class: "row small-text soft" },
      `${one.held.length} of ${count(one.threads, "thread")} at work, started `,
      when(one.started_at),
    ),
    el("meter", {
      class: "load",
      min: 0,
      max: one.threads,
      value: one.held.length,
      "aria-label": `${one.held.length} of ${one.threads} threads at work`,
    }),
    one.held.length > 0 && heldTable(one.held, at),
  );
}

function untoldCard(untold, at) {
  return el(
    "section",
    { class: "card" },
    el("header", {}, el("h2", { class: "grow" }, "Begun a moment ago")),
    note(
      "",
      "No worker has told of these yet: each does so every few seconds. One that stays here has lost its worker, and is rescued when its lease is over.",
    ),
    heldTable(untold, at),
  );
}

function heldTable(held, at) {
  const rows = held.map((one) => [
    one.id.startsWith("job_") ? jobLink(one.id) : el("span", { class: "mono long" }, one.id),
    one.step,
    tenantLink(one.tenant),
    String(one.attempt),
    one.since ? seconds(Math.max(at - Date.parse(one.since), 0) / 1000) : "–",
  ]);
  return cardTable("What it holds", ["Holds", "Step", "Tenant", "Attempt", "For"], rows);
}
