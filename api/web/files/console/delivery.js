// One webhook delivery: its payload, its attempts, and redelivery.
import { el } from "../shared/dom.js";
import { seconds } from "../shared/format.js";
import { actionButton, ask } from "./actions.js";
import { deliveryBadge, jobLink, tenantLink, when } from "./formatters.js";

export function deliveryCard({ client, may, live, delivery, inJob = false }) {
  return el(
    "details",
    { class: "delivery", open: inJob && delivery.status === "failed" },
    el(
      "summary",
      {},
      el(
        "span",
        { class: "row" },
        el("strong", {}, delivery.type),
        deliveryBadge(delivery.status),
        el("span", { class: "soft small-text" }, when(delivery.created_at)),
      ),
    ),
    el(
      "div",
      { class: "stack tight" },
      !inJob &&
        el(
          "p",
          { class: "small-text" },
          tenantLink(delivery.tenant),
          " · ",
          delivery.job_id ? jobLink(delivery.job_id) : delivery.batch_id,
        ),
      el(
        "p",
        { class: "small-text soft" },
        el("code", { class: "long" }, delivery.url),
        delivery.next_attempt_at && [" · next ", when(delivery.next_attempt_at)],
      ),
      attemptsOf(delivery),
      el(
        "div",
        { class: "row" },
        redeliverButton({ client, may, live, delivery }),
        delivery.status === "parked" && enableButton({ client, may, live, delivery }),
      ),
    ),
  );
}

/** A button that redelivers a webhook. */
export function redeliverButton({ client, delivery, ...at }) {
  return changing(at, "Redeliver", () => redeliver(client, delivery), { drawing: "send" });
}

/** A button that enables the endpoint of a parked delivery. */
function enableButton({ client, delivery, ...at }) {
  return changing(at, "Enable the endpoint", () => enable(client, delivery), {
    title: "Also retries a failing endpoint at once",
  });
}

function changing({ may, live }, words, act, how) {
  return actionButton(may, words, () => act().then((done) => done && live.now()), how);
}

function enable(client, { endpoint_id: id, tenant, host, url }) {
  const words = [
    el(
      "p",
      {},
      `Darkroom sends to ${host} again at once, including every pending delivery of ${tenant}.`,
    ),
    el("p", { class: "soft small-text" }, el("code", { class: "long" }, url)),
  ];
  return ask(
    "Enable this endpoint?",
    words,
    "Enable",
    () => client.post(`/ops/v1/endpoints/${id}/enable`),
    () => "Endpoint enabled",
  );
}

function redeliver(client, { id, type, host, status }) {
  const words = [
    el(
      "p",
      {},
      `${type} is sent to ${host} again at once, with the same id and the original signing secret.`,
    ),
    status === "delivered" &&
      el("p", { class: "soft" }, "It was delivered before: the receiver gets it twice."),
  ].filter(Boolean);
  return ask(
    "Send this again?",
    words,
    "Redeliver",
    () => client.post(`/ops/v1/deliveries/${id}/redeliver`),
    () => "Delivery queued again",
  );
}

function attemptsOf({ attempts, last_attempt }) {
  const all = attempts ?? (last_attempt ? [last_attempt] : []);
  if (!all.length) return el("p", { class: "soft small-text" }, "No attempt yet.");
  return el(
    "ol",
    { class: "attempts" },
    [...all].reverse().map((one) =>
      el(
        "li",
        {},
        el(
          "div",
          { class: "row small-text" },
          el("strong", {}, `Attempt ${one.number}`),
          el("span", { class: one.error ? "tag" : "tag good" }, answerWords(one)),
          el("span", { class: "soft" }, when(one.at), `, ${seconds(one.seconds)}`),
        ),
        one.error && el("p", { class: "small-text" }, one.error.message),
        one.answer &&
          el(
            "pre",
            {
              class: "response wrap",
              dir: "auto",
              tabindex: 0,
              role: "region",
              "aria-label": "The response",
            },
            one.answer,
          ),
      ),
    ),
  );
}

export function answerWords(attempt) {
  if (!attempt) return "–";
  return attempt.status
    ? `Status ${attempt.status}`
    : (attempt.error?.code.replaceAll("_", " ") ?? "–");
}
