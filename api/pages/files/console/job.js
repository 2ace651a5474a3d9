// One job: where it stands, every attempt at it, what was told of it, its picture, and what to do.
import { codeBlock } from "../parts/code.js";
import { el, fill } from "../parts/dom.js";
import { empty, note } from "../parts/say.js";
import { bytes, count, moment, seconds, title } from "../parts/words.js";
import { actionButton, ask } from "./acting.js";
import { deliveryCard } from "./delivery.js";
import { link } from "./places.js";
import { WAITS, card, endBadge, facts, jobBadge, jobLink, tenantLink, when } from "./shown.js";

const FINAL = new Set(["succeeded", "failed", "canceled"]);

export function job({ client, may, live, place }) {
  const id = place.rest[0];
  const head = el("div", { class: "stack tight" });
  const picture = el("div", {});
  const columns = { main: el("div", { class: "stack" }), side: el("div", { class: "stack" }) };
  const node = el("div", { class: "stack" }, head, el("div", { class: "columns job" }, columns.main, columns.side));
  let shown = "";
  let drawn = "";

  async function load(signal) {
    const found = await client.get(`/ops/v1/jobs/${encodeURIComponent(id)}`, {}, { signal });
    // whoever reads or selects something is not disturbed while nothing changes
    const state = JSON.stringify([found.version, found.waiting_on, found.position, found.deliveries]);
    if (state === shown) return;
    shown = state;
    show(found);
  }

  function show(found) {
    fill(head, el("nav", { class: "small-text", "aria-label": "Back" }, el("a", { href: link("jobs") }, "Jobs")),
      el("div", { class: "row apart" }, el("h1", { class: "row" }, el("span", { class: "mono id" }, found.id), jobBadge(found)), buttons(found)),
      found.error && note("bad", el("strong", {}, title(found.error.code)), el("p", {}, found.error.message), el("p", { class: "small-text" }, found.error.retryable ? "Trying again may help." : "Trying again as it is will not help.")),
      found.waiting_on && note("wait", el("strong", {}, `It waits ${WAITS[found.waiting_on]}`), found.eta_seconds !== null && el("p", {}, `Begun in about ${seconds(found.eta_seconds)}.`)));
    drawPicture(found);
    fill(columns.main, attemptsCard(found), timelineCard(found), deliveriesCard(found));
    fill(columns.side, card("Picture", null, picture), aboutCard(found), inputCard(found));
  }

  function buttons(found) {
    const canRetry = found.status === "failed" || found.status === "canceled";
    return el("div", { class: "row" },
      canRetry && actionButton(may, "Retry", () => move("retry", found), { drawing: "again", kind: "main" }),
      !FINAL.has(found.status) && actionButton(may, "Cancel", () => move("cancel", found), { drawing: "stop", kind: "bad" }));
  }

  async function move(verb, found) {
    const words = verb === "retry"
      ? "The same job is done again, as its next run. What was bought already is not bought again."
      : found.status === "running" ? "It is running: what comes of it is dropped, and the call may be billed." : "It is not begun, and will not be billed.";
    const act = () => client.post(`/ops/v1/jobs/${verb}`, { filter: { id: found.id }, expected_count: 1 });
    const done = ({ moved, refused }) => (moved ? `The job is ${verb === "retry" ? "sent again" : "canceled"}` : `Nothing was moved: ${Object.keys(refused).join(", ") || "it is in another state by now"}`);
    if (await ask(verb === "retry" ? "Retry this job?" : "Cancel this job?", words, verb === "retry" ? "Retry" : "Cancel it", act, done, { kind: verb === "retry" ? "main" : "bad" })) live.now();
  }

  function drawPicture({ image, status, input }) {
    const key = image?.sha256 ?? status;
    if (key === drawn) return;
    drawn = key;
    if (!image) return fill(picture, empty("image", FINAL.has(status) ? "It has no picture" : "No picture yet"));
    // its signed address, at the host that this page came from
    const { pathname, search } = new URL(image.url, location.href);
    const img = el("img", { class: "picture", src: pathname + search, alt: input.prompt, width: image.width, height: image.height });
    img.addEventListener("error", () => fill(picture, note("bad", "The storage does not give this picture now.")));
    fill(picture, el("a", { href: pathname + search, target: "_blank", rel: "noopener" }, img),
      el("p", { class: "soft small-text" }, `${image.content_type}, ${image.width} × ${image.height}, ${bytes(image.bytes)}`),
      image.warnings.length > 0 && note("wait", `It differs from what was asked: ${image.warnings.join(", ")}`));
  }

  function deliveriesCard(found) {
    if (!found.webhook) return card("Webhooks", null, el("p", { class: "soft" }, "The job asks for none."));
    const all = found.deliveries.map((one) => deliveryCard({ client, may, live, delivery: one, inJob: true }));
    return card("Webhooks", el("a", { class: "small-text", href: link("deliveries", { job_id: found.id }) }, "In the list"), el("p", { class: "soft small-text" }, found.webhook.events.join(", "), " to ", el("code", {}, found.webhook.url)), all.length ? el("div", { class: "stack tight" }, all) : el("p", { class: "soft" }, "Nothing was owed yet."));
  }

  return { heading: `Job …${id.slice(-10)}`, node, load, seconds: 2 };
}

function attemptsCard({ attempts, provider, workers_lost }) {
  const about = `${count(provider.calls, "call")} to the provider${provider.unknown_outcomes ? `, ${provider.unknown_outcomes} with an outcome nobody knows` : ""}${provider.regenerated ? ", made again once" : ""}${workers_lost ? `, ${count(workers_lost, "worker")} lost` : ""}`;
  if (!attempts.length) return card("Attempts", null, el("p", { class: "soft" }, "No worker has begun it."));
  const runs = new Set(attempts.map(({ run }) => run)).size > 1;
  return card("Attempts", el("span", { class: "soft small-text" }, about), el("ol", { class: "attempts" }, attempts.map((one) => attempt(one, runs)).reverse()));
}

function attempt(one, runs) {
  return el("li", {},
    el("div", { class: "row" }, el("strong", {}, `${runs ? `Run ${one.run}, attempt` : "Attempt"} ${one.number}`), endBadge(one.outcome), one.error_code && el("span", { class: "tag" }, title(one.error_code)),
      el("span", { class: "soft small-text" }, when(one.started_at), one.seconds !== null && `, ${seconds(one.seconds)}`)),
    el("p", { class: "soft small-text" }, steps(one)),
    one.said && el("pre", { class: "said wrap", tabindex: 0, role: "region", "aria-label": "What was said" }, one.said));
}

/** "claimed 2 ms → calling 0.91 s → fetching 51 ms". */
function steps({ steps: all, ended_at }) {
  const words = all.map(({ step, at }, index) => {
    const end = all[index + 1]?.at ?? ended_at;
    return end ? `${step} ${seconds((Date.parse(end) - Date.parse(at)) / 1000)}` : `${step}…`;
  });
  return words.join(" → ");
}

function timelineCard({ timeline, created_at }) {
  const begun = Date.parse(created_at);
  const lines = timeline.map(({ version, at, status, step, attempt: number }) =>
    el("li", {}, el("time", { datetime: at, title: moment(at), class: "mono" }, `+${seconds((Date.parse(at) - begun) / 1000)}`), el("span", {}, step ? `${status}: ${step}` : status), el("span", { class: "soft small-text" }, `version ${version}${number ? `, attempt ${number}` : ""}`)));
  return card("Timeline", el("span", { class: "soft small-text" }, moment(created_at)), el("ol", { class: "timeline" }, lines));
}

function aboutCard(found) {
  const { timings } = found;
  const took = Object.entries(timings).filter(([name, value]) => value !== null && name !== "total").map(([name, value]) => `${name} ${seconds(value)}`);
  return card("About", null, facts([
    ["Tenant", tenantLink(found.tenant)], ["Model", found.model], ["Priority", found.priority],
    ["Attempt", `${found.attempt} of ${found.max_attempts}`], ["Run", found.run > 1 && found.run],
    ["Created", moment(found.created_at)], ["Started", found.started_at && moment(found.started_at)], ["Finished", found.finished_at && moment(found.finished_at)],
    ["Total", timings.total !== null && seconds(timings.total)], ["Of this", took.join(", ")],
    ["Deadline", !FINAL.has(found.status) && moment(found.deadline_at)], ["Kept until", found.expires_at && moment(found.expires_at)],
    ["Batch", found.batch_id && el("a", { class: "mono", href: link("jobs", { batch_id: found.batch_id }) }, found.batch_id)],
    ["Reused from", found.reused_from && jobLink(found.reused_from)],
    ["Tags", found.tags.length > 0 && found.tags.map((tag) => el("a", { class: "tag", href: link("jobs", { tenant: found.tenant, tag }) }, tag))],
    ["Provider's record", found.provider.record_id && el("code", {}, found.provider.record_id)],
    ["Trace", found.trace_id && el("code", {}, found.trace_id)],
    ["Metadata", Object.keys(found.metadata).length > 0 && el("code", {}, JSON.stringify(found.metadata))],
  ]));
}

function inputCard({ input }) {
  return card("Input", null, codeBlock("the input", JSON.stringify(input, null, 2), { wrap: true }).node);
}
