// The tenants with their limits and queued jobs.
import { openDialog } from "../shared/dialog.js";
import { el } from "../shared/dom.js";
import { number } from "../shared/format.js";
import { actionButton } from "./actions.js";
import { limit, tenantLink, when } from "./formatters.js";
import { limitsForm } from "./limits.js";
import { listView } from "./list_view.js";
import { nothingFound } from "./listing.js";
import { go, link } from "./router.js";
import { showSecret } from "./secret.js";

const COLUMNS = [
  "Tenant",
  "Queued",
  "Running",
  "Weight",
  "Concurrent",
  "Queue",
  "Per minute",
  "Credits per day",
  "Credits per month",
  "Created",
];

export function tenants({ client, may, place }) {
  const make = actionButton(may, "New tenant…", create, { drawing: "pencil", kind: "main" });

  function create() {
    const { node } = limitsForm({
      named: true,
      verb: "Create tenant",
      save: (body) => client.post("/ops/v1/tenants", body),
      saved,
    });
    const dialog = openDialog("New tenant", node);

    async function saved(tenant) {
      dialog.close();
      await showSecret(
        "Tenant created",
        "This secret signs the webhooks of the tenant. It is shown only now.",
        tenant.webhook_secret,
        "the webhook secret",
      );
      go(`tenants/${encodeURIComponent(tenant.name)}`);
    }
  }

  return listView({
    heading: "Tenants",
    client,
    at: { query: place.query },
    tools: make,
    list: {
      caption: "Tenants by name",
      columns: COLUMNS,
      row,
      path: "tenants",
      nothing: nothingFound(
        "tenant",
        "Create one: clients need the API key of a tenant.",
        "tenants",
      ),
    },
  });
}

function row(one) {
  const waiting = (status, many) =>
    many ? el("a", { href: link("jobs", { tenant: one.name, status }) }, number(many)) : "0";
  return [
    tenantLink(one.name),
    waiting("queued", one.queued),
    waiting("running", one.running),
    number(one.weight),
    limit(one.max_running),
    limit(one.max_queued),
    limit(one.requests_per_minute),
    limit(one.daily_credits),
    limit(one.monthly_credits),
    when(one.created_at),
  ];
}
