// The cells of a webhook endpoint, of a tenant or of operators.
import { el } from "../shared/dom.js";
import { count, moment } from "../shared/format.js";
import { endpointBadge, when, words } from "./formatters.js";
import { link } from "./router.js";

/** The owner of operators' endpoints, as the delivery log names it. */
export const OPERATORS = "@operators";

/** The URL on a line of its own. */
export function urlOf({ url }) {
  return el("p", { class: "soft small-text" }, el("code", { class: "long" }, url));
}

/** What a standing endpoint is for, and which events it gets. */
export function standing({ description, events, tenant }) {
  const whose = tenant === OPERATORS ? "" : "All jobs: ";
  const gets = events.length > 0 && `${whose}${events.join(", ")}`;
  return [description, gets]
    .filter(Boolean)
    .map((text) => el("span", { class: "soft small-text" }, text));
}

const REASONS = {
  gone: "responded 410 Gone",
  failing: "failed for days",
  requested: "by its owner",
};
/** What becomes of the deliveries of an endpoint that is not healthy, and what to do. */
const REPAIRS = {
  failing: "Gets one delivery at a time until it accepts one. Enable it to retry at once.",
  disabled:
    "Gets nothing. Enable it when its URL responds again: waiting deliveries are sent then.",
};

/** The status, since when, and what to do. */
export function statusOf({
  status,
  failing_since: failing,
  disabled_at: disabled,
  disabled_reason: why,
}) {
  const since = status === "disabled" ? disabled : status === "failing" ? failing : null;
  const reason = why && REASONS[why];
  return el(
    "span",
    { class: "state" },
    endpointBadge(status),
    since && el("span", { class: "soft small-text" }, "since ", when(since)),
    reason && el("span", { class: "soft small-text" }, reason),
    REPAIRS[status] && el("span", { class: "soft small-text" }, REPAIRS[status]),
  );
}

/** How many deliveries wait for it. */
export function waiting({ tenant, pending, parked }) {
  if (!pending) return "0";
  const all = el(
    "a",
    { href: link("deliveries", { tenant }) },
    count(pending, "delivery", "deliveries"),
  );
  return parked ? el("span", {}, all, `, ${parked} parked`) : all;
}

/** The last error, and when it was. */
export function errorOf({ last_error: error, last_failure_at: at }) {
  if (!error) return el("span", { class: "soft" }, "none");
  const what = error.status ? `Status ${error.status}` : words(error.message);
  return el("span", { title: `${error.message} ${moment(at)}` }, what, " ", when(at));
}
