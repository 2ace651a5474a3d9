// One job: its state, attempts, timeline, deliveries, image, and actions.
import { imageAddress } from "../shared/address.js";
import { codeBlock } from "../shared/code.js";
import { el, fill } from "../shared/dom.js";
import { bytes, moment, seconds, title } from "../shared/format.js";
import { deletedText, hasImage } from "../shared/image.js";
import { empty, note, prose } from "../shared/notices.js";
import { retryWords } from "../shared/retry.js";
import { actionButton, ask } from "./actions.js";
import { attemptsCard, timelineCard } from "./attempts.js";
import { deliveryCard } from "./delivery.js";
import { card, facts, jobBadge, jobLink, tenantLink, WAITS, words } from "./formatters.js";
import { link } from "./router.js";

const FINAL = new Set(["succeeded", "failed", "canceled"]);

/** The actions on a job, with their dialog texts. */
const ACTIONS = {
  retry: {
    head: "Retry this job?",
    verb: "Retry",
    moved: "Job queued again",
    kind: "main",
    words: ({ error }) => [
      error && !error.retryable && el("p", {}, retryWords(error)),
      el(
        "p",
        {},
        "The same job runs again. An image that is already paid for is not paid for twice.",
      ),
    ],
  },
  cancel: {
    head: "Cancel this job?",
    verb: "Cancel job",
    moved: "Job canceled",
    kind: "bad",
    words: ({ status }) =>
      status === "running"
        ? "It is running: its result is discarded, and the provider may bill the call."
        : "It has not started and is not billed.",
  },
};

export function job({ client, may, live, place }) {
  const id = place.rest[0];
  const head = el("div", { class: "stack tight" });
  const frame = el("div", {});
  const columns = { main: el("div", { class: "stack" }), side: el("div", { class: "stack" }) };
  const node = el(
    "div",
    { class: "stack" },
    head,
    el("div", { class: "columns job" }, columns.main, columns.side),
  );
  let shown = "";
  let drawn = "";

  async function load(signal) {
    const found = await client.get(`/ops/v1/jobs/${encodeURIComponent(id)}`, {}, { signal });
    // redraw only on change, so that reading and selecting are not disturbed
    const state = JSON.stringify([
      found.version,
      found.waiting_on,
      found.position,
      found.deliveries,
    ]);
    if (state === shown) return;
    shown = state;
    show(found);
  }

  function show(found) {
    fill(
      head,
      el(
        "nav",
        { class: "small-text", "aria-label": "Back" },
        el("a", { href: link("jobs") }, "Jobs"),
      ),
      el(
        "div",
        { class: "row apart" },
        el("h1", { class: "row" }, el("span", { class: "mono id" }, found.id), jobBadge(found)),
        buttons(found),
      ),
      found.error &&
        note(
          "bad",
          el("strong", {}, title(found.error.code)),
          el("p", { class: "long", dir: "auto" }, prose(found.error.message)),
          el("p", { class: "small-text" }, retryWords(found.error)),
        ),
      found.waiting_on &&
        note(
          "wait",
          el("strong", {}, `Waiting ${WAITS[found.waiting_on]}`),
          found.eta_seconds !== null &&
            el("p", {}, `Starts in about ${seconds(found.eta_seconds)}.`),
        ),
    );
    renderImage(found);
    fill(columns.main, attemptsCard(found), timelineCard(found), deliveriesCard(found));
    fill(columns.side, card("Image", null, frame), aboutCard(found), inputCard(found));
  }

  function buttons(found) {
    const canRetry = found.status === "failed" || found.status === "canceled";
    const wouldFail = found.error?.retryable === false;
    return el(
      "div",
      { class: "row" },
      canRetry &&
        actionButton(may, wouldFail ? "Retry anyway" : "Retry", () => change("retry", found), {
          drawing: "again",
          kind: wouldFail ? "" : "main",
        }),
      !FINAL.has(found.status) &&
        actionButton(may, "Cancel", () => change("cancel", found), {
          drawing: "stop",
          kind: "bad",
        }),
    );
  }

  async function change(name, found) {
    const { head: heading, verb, moved, kind, words } = ACTIONS[name];
    const act = () =>
      client.post(`/ops/v1/jobs/${name}`, { filter: { id: found.id }, expected_count: 1 });
    const done = (result) => (result.moved ? moved : notChanged(result));
    if (await ask(heading, words(found), verb, act, done, { kind })) live.now();
  }

  function renderImage(found) {
    const { image, status, input } = found;
    const key = image ? `${image.sha256} ${image.deleted_at}` : status;
    if (key === drawn) return;
    drawn = key;
    if (image && !hasImage(found)) return fill(frame, empty("image", deletedText(image)));
    if (!image) return fill(frame, empty("image", FINAL.has(status) ? "No image" : "No image yet"));
    const img = el("img", {
      class: "image",
      src: imageAddress(found, { preview: true }),
      alt: input.prompt ?? "An image",
      width: image.width,
      height: image.height,
    });
    img.addEventListener("error", () =>
      fill(frame, note("bad", "The storage cannot deliver this image right now.")),
    );
    fill(
      frame,
      el("a", { href: imageAddress(found), target: "_blank", rel: "noopener" }, img),
      el(
        "p",
        { class: "soft small-text" },
        `${image.content_type}, ${image.width} × ${image.height}, ${bytes(image.bytes)}`,
      ),
      image.warnings.length > 0 &&
        note("wait", `It differs from the request: ${image.warnings.join(", ")}`),
    );
  }

  function deliveriesCard(found) {
    if (!found.webhook)
      return card("Webhooks", null, el("p", { class: "soft" }, "The job has no webhook."));
    const all = found.deliveries.map((one) =>
      deliveryCard({ client, may, live, delivery: one, inJob: true }),
    );
    return card(
      "Webhooks",
      el(
        "a",
        { class: "small-text", href: link("deliveries", { job_id: found.id }) },
        "Show in the list",
      ),
      el(
        "p",
        { class: "soft small-text" },
        found.webhook.events.join(", "),
        " to ",
        el("code", { class: "long" }, found.webhook.url),
      ),
      all.length
        ? el("div", { class: "stack tight" }, all)
        : el("p", { class: "soft" }, "No deliveries yet."),
    );
  }

  return { heading: `Job …${id.slice(-10)}`, node, load, seconds: 2 };
}

function aboutCard(found) {
  const { timings } = found;
  const took = Object.entries(timings)
    .filter(([name, value]) => value !== null && name !== "total")
    .map(([name, value]) => `${name} ${seconds(value)}`);
  return card(
    "About",
    null,
    facts([
      ["Tenant", tenantLink(found.tenant)],
      ["Model", found.model],
      ["Served by", found.served_model !== found.model && found.served_model],
      ["Fallback models", found.fallback_models.join(", ")],
      ["Priority", found.priority],
      ["Attempt", `${found.attempt} of ${found.max_attempts}`],
      ["Run", found.run > 1 && found.run],
      ["Created", moment(found.created_at)],
      ["Started", found.started_at && moment(found.started_at)],
      ["Finished", found.finished_at && moment(found.finished_at)],
      ["Total", timings.total !== null && seconds(timings.total)],
      ["Steps", took.join(", ")],
      ["Deadline", !FINAL.has(found.status) && moment(found.deadline_at)],
      ["Job will be deleted on", found.expires_at && moment(found.expires_at)],
      ["Image will be deleted on", found.image?.expires_at && moment(found.image.expires_at)],
      ["Image deleted on", found.image?.deleted_at && moment(found.image.deleted_at)],
      [
        "Batch",
        found.batch_id &&
          el(
            "a",
            { class: "mono", href: link("jobs", { batch_id: found.batch_id }) },
            found.batch_id,
          ),
      ],
      ["Reused from", found.reused_from && jobLink(found.reused_from)],
      [
        "Tags",
        found.tags.length > 0 &&
          found.tags.map((tag) =>
            el(
              "a",
              { class: "tag", dir: "auto", href: link("jobs", { tenant: found.tenant, tag }) },
              tag,
            ),
          ),
      ],
      ["Provider's record", found.provider.record_id && el("code", {}, found.provider.record_id)],
      ["Trace", found.trace_id && el("code", {}, found.trace_id)],
      ["Metadata", Object.keys(found.metadata).length > 0 && metadataOf(found.metadata)],
    ]),
  );
}

function metadataOf(metadata) {
  return Object.entries(metadata).map(([name, value]) =>
    el("div", {}, el("bdi", { class: "soft long" }, name), ": ", words(value)),
  );
}

function inputCard({ input, prompt_withheld: isWithheld }) {
  const prompt = { class: "response wrap", dir: "auto", tabindex: 0, role: "region" };
  return card(
    "Input",
    null,
    isWithheld
      ? el("p", { class: "soft" }, "The prompt was not archived, because of the tenant's settings.")
      : el("p", { ...prompt, "aria-label": "The prompt" }, input.prompt),
    codeBlock("the input", JSON.stringify(input, null, 2), { wrap: true }).node,
  );
}

const WHY_NOT = {
  state: "the job is in another state by now",
  prompt_withheld: "its prompt was not archived",
};

function notChanged({ refused }) {
  const why = Object.keys(refused).map((code) => WHY_NOT[code] ?? code);
  return `Nothing changed: ${why.join(", ") || WHY_NOT.state}`;
}
