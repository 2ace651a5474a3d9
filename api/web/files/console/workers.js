// The running worker processes and the jobs each holds.
import { el, fill } from "../shared/dom.js";
import { count, number, seconds } from "../shared/format.js";
import { empty, note } from "../shared/notices.js";
import { cardTable, jobLink, tenantLink, when } from "./formatters.js";
import { preserveFocus } from "./listing.js";

const QUEUES = { generate: "generates images", deliver: "sends webhooks" };

export function workers({ client }) {
  const list = el("div", { class: "stack" });
  const sum = el("p", { class: "soft" });
  const node = el("div", { class: "stack" }, el("h1", {}, "Workers"), sum, list);

  async function load(signal) {
    const listed = await client.get("/ops/v1/workers", {}, { signal });
    const at = Date.parse(listed.at);
    const threads = listed.data.reduce((all, one) => all + one.threads, 0);
    const held =
      listed.data.reduce((all, one) => all + one.held.length, 0) + listed.unreported.length;
    fill(
      sum,
      listed.data.length
        ? `${count(listed.data.length, "process", "processes")}, ${count(threads, "thread")}, ${number(held)} busy. Each reports its jobs every few seconds.`
        : "",
    );
    const cards = listed.data.map((one) => workerCard(one, at));
    preserveFocus(list, () =>
      fill(
        list,
        cards.length ? cards : nobody(),
        listed.unreported.length > 0 && unreportedCard(listed.unreported, at),
      ),
    );
  }

  return { heading: "Workers", node, load, seconds: 2 };
}

function nobody() {
  return empty(
    "warning",
    "No workers",
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
      `${one.held.length} of ${count(one.threads, "thread")} busy, started `,
      when(one.started_at),
    ),
    el("meter", {
      class: "load",
      min: 0,
      max: one.threads,
      value: one.held.length,
      "aria-label": `${one.held.length} of ${one.threads} threads busy`,
    }),
    one.held.length > 0 && heldTable(one.held, at),
  );
}

function unreportedCard(unreported, at) {
  return el(
    "section",
    { class: "card" },
    el("header", {}, el("h2", { class: "grow" }, "Just started")),
    note(
      "",
      "No worker has reported these yet; each worker reports every few seconds. A job that stays here has lost its worker, and is requeued when its lease expires.",
    ),
    heldTable(unreported, at),
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
  return cardTable("Jobs of this worker", ["Job", "Step", "Tenant", "Attempt", "For"], rows);
}
