// The webhook endpoints of all tenants, and those of operators: which accept deliveries and which fail.
import { el } from "../shared/dom.js";
import { actionButton, ask } from "./actions.js";
import { errorOf, standing, statusOf, urlOf, waiting } from "./endpoint_cells.js";
import { ENDPOINT_STATUSES } from "./enums.js";
import { filterForm } from "./filter.js";
import { tenantLink, when } from "./formatters.js";
import { listView } from "./list_view.js";
import { nothingFound } from "./listing.js";
import { operatorEndpoints } from "./operator_endpoints.js";
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

  const ours = operatorEndpoints({ client, may, live });
  const view = listView({
    heading: "Endpoints",
    client,
    at: { query: place.query },
    filter: filterForm("endpoints", FIELDS),
    beside: { load: ours.load },
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
  view.node.firstChild.after(ours.node); // above the filter, which is not for them
  return view;
}
