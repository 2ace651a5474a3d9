// The webhook deliveries of all tenants: search, read, redeliver.
import { openDialog } from "../shared/dialog.js";
import { el, fill } from "../shared/dom.js";
import { loading, trouble } from "../shared/notices.js";
import { actionButton } from "./actions.js";
import { answerWords, deliveryCard, redeliverButton } from "./delivery.js";
import { DELIVERY_STATUSES } from "./enums.js";
import { filterForm } from "./filter.js";
import { deliveryBadge, jobLink, tenantLink, when, words } from "./formatters.js";
import { listView } from "./list_view.js";
import { nothingFound } from "./listing.js";
import { redeliverSince } from "./redeliver.js";

const FIELDS = [
  { name: "status", label: "Status", kind: "choice", choices: DELIVERY_STATUSES },
  { name: "tenant", label: "Tenant", kind: "text" },
  { name: "host", label: "Host", kind: "text", about: "hooks.example.com" },
  { name: "job_id", label: "Job", kind: "text", about: "job_…" },
];
const COLUMNS = [
  "Event",
  "Status",
  "Tenant",
  "Host",
  "About",
  "Attempts",
  "Last response",
  "Created",
  "Action",
];

export function deliveries({ client, may, live, place }) {
  const at = { query: place.query };
  const again = () => redeliverSince(client, at.query.tenant).then((done) => done && live.now());
  const tools = actionButton(may, "Redeliver failed…", again, {
    drawing: "send",
    title: "Shows how many first",
  });

  function row(one) {
    const look = el(
      "button",
      { type: "button", class: "linklike", data: { keep: one.id }, onclick: () => show(one) },
      one.type,
    );
    return [
      look,
      deliveryBadge(one.status),
      tenantLink(one.tenant),
      words(one.host),
      one.job_id
        ? jobLink(one.job_id, `…${one.job_id.slice(-10)}`)
        : el("span", { class: "mono" }, `…${one.batch_id?.slice(-10) ?? ""}`),
      String(one.attempt),
      el("span", { title: one.last_attempt?.error?.message ?? "" }, answerWords(one.last_attempt)),
      when(one.created_at),
      redeliverButton({ client, may, live, delivery: one }),
    ];
  }

  async function show(one) {
    const inside = el("div", {}, loading("Loading…"));
    openDialog(`${one.type}, ${one.host}`, inside, { wide: true });
    try {
      const delivery = await client.get(`/ops/v1/deliveries/${one.id}`);
      const shown = deliveryCard({ client, may, live, delivery });
      shown.open = true;
      fill(inside, shown);
    } catch (error) {
      fill(inside, trouble(error));
    }
  }

  return listView({
    heading: "Deliveries",
    client,
    at,
    tools,
    filter: filterForm("deliveries", FIELDS),
    list: {
      caption: "Deliveries, newest first",
      columns: COLUMNS,
      row,
      path: "deliveries",
      nothing: nothingFound(
        "delivery",
        "Deliveries are created for events of jobs that name a webhook URL, and for standing endpoints.",
        "deliveries",
      ),
    },
  });
}
