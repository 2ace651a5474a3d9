// The webhook endpoints of all tenants: which accept deliveries and which fail.
import { el } from "../shared/dom.js";
import { count, moment } from "../shared/format.js";
import { actionButton, ask } from "./actions.js";
import { ENDPOINT_STATUSES } from "./enums.js";
import { filterForm } from "./filter.js";
import { endpointBadge, tenantLink, when, words } from "./formatters.js";
import { listView } from "./list_view.js";
import { nothingFound } from "./listing.js";
import { link } from "./router.js";
import { showSecret } from "./secret.js";

const FIELDS = [
  { name: "status", label: "Status", kind: "choice", choices: ENDPOINT_STATUSES },
  { name: "tenant", label: "Tenant", kind: "text" },
];
const COLUMNS = ["Endpoint", "Status", "Tenant", "Waiting", "Last error", "Last success", "Change"];

export function endpoints({ client, may, live, place }) {
  function row(one) {
    return [
      el("div", { class: "state" }, el("code", { class: "long" }, one.url), ...standing(one)),
      statusOf(one),
      tenantLink(one.tenant),
      waiting(one),
      errorOf(one),
      when(one.last_success_at, "never"),
      el(
        "div",
        { class: "row" },
        one.status !== "healthy" && actionButton(may, "Enable", () => enable(one)),
        actionButton(may, "Rotate secret", () => rotate(one)),
      ),
    ];
  }

  async function enable(one) {
    const words = [
      el(
        "p",
        {},
        `Darkroom sends to it again at once, including every pending delivery of ${one.tenant}.`,
      ),
      urlOf(one),
    ];
    const act = () => client.post(`/ops/v1/endpoints/${one.id}/enable`);
    if (await ask("Enable this endpoint?", words, "Enable", act, () => "Endpoint enabled"))
      live.now();
  }

  async function rotate(one) {
    const words = [
      el(
        "p",
        {},
        "A new secret signs from now on. The current one signs as well for another 24 hours.",
      ),
      el(
        "p",
        {},
        `Give the new secret to ${one.tenant} within that time: after it, only the new signature is sent.`,
      ),
      urlOf(one),
    ];
    const act = () => client.post(`/ops/v1/endpoints/${one.id}/secret/rotate`);
    const made = await ask("Rotate the secret?", words, "Rotate", act, () => "Secret rotated");
    if (!made) return;
    const shownOnce = `It signs until ${one.tenant} or you rotate it. It is shown only now.`;
    await showSecret("The new secret", shownOnce, made.secret, "the webhook secret");
    live.now();
  }

  return listView({
    heading: "Endpoints",
    client,
    at: { query: place.query },
    filter: filterForm("endpoints", FIELDS),
    list: {
      caption: "Webhook endpoints, by tenant, newest first",
      columns: COLUMNS,
      row,
      path: "endpoints",
      nothing: nothingFound(
        "endpoint",
        "An endpoint is created by its tenant, or when a job names a new webhook URL.",
        "endpoints",
      ),
    },
  });
}

function urlOf({ url }) {
  return el("p", { class: "soft small-text" }, el("code", { class: "long" }, url));
}

/** What a standing endpoint is for, and which events it gets. */
function standing({ description, events }) {
  const gets = events.length > 0 && `All jobs: ${events.join(", ")}`;
  return [description, gets]
    .filter(Boolean)
    .map((text) => el("span", { class: "soft small-text" }, text));
}

const REASONS = {
  gone: "responded 410 Gone",
  failing: "failed for days",
  requested: "by its tenant",
};
/** What becomes of the deliveries of an endpoint that is not healthy, and what to do. */
const REPAIRS = {
  failing: "Gets one delivery at a time until it accepts one. Enable it to retry at once.",
  disabled:
    "Gets nothing. Enable it when its URL responds again: waiting deliveries are sent then.",
};

/** The status, since when, and what to do. */
function statusOf({ status, failing_since: failing, disabled_at: disabled, disabled_reason: why }) {
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

function waiting({ tenant, pending, parked }) {
  if (!pending) return "0";
  const all = el(
    "a",
    { href: link("deliveries", { tenant }) },
    count(pending, "delivery", "deliveries"),
  );
  return parked ? el("span", {}, all, `, ${parked} parked`) : all;
}

function errorOf({ last_error: error, last_failure_at: at }) {
  if (!error) return el("span", { class: "soft" }, "none");
  const what = error.status ? `Status ${error.status}` : words(error.message);
  return el("span", { title: `${error.message} ${moment(at)}` }, what, " ", when(at));
}
