// The audit log: who changed what, when, and in which request.
import { el } from "../shared/dom.js";
import { moment, title } from "../shared/format.js";
import { filterForm } from "./filter.js";
import { jobLink, tenantLink, words } from "./formatters.js";
import { listView } from "./list_view.js";
import { nothingFound } from "./listing.js";

const FIELDS = [
  { name: "action", label: "Action", kind: "text", about: "key.revoke" },
  { name: "target", label: "Target", kind: "text", about: "tenant, queue" },
  { name: "by", label: "By", kind: "text", about: "key id, cli:user" },
  { name: "after", label: "After", kind: "time" },
  { name: "before", label: "Before", kind: "time" },
];
const COLUMNS = ["When", "By", "Action", "Target", "Detail", "Request"];
const TENANT_ACTIONS = /^(tenant|key)\./;

export function audit({ client, place }) {
  return listView({
    heading: "Audit",
    client,
    at: { query: place.query },
    filter: filterForm("audit", FIELDS),
    limit: 200,
    list: {
      caption: "Operator actions, newest first",
      columns: COLUMNS,
      row,
      path: "audit",
      fold,
      nothing: nothingFound(
        "operator action",
        "Every change made here or with the command “darkroom” is recorded, with the operator who made it.",
        "audit",
      ),
    },
  });
}

/** Merge the steps of one bulk operation into one row. */
function fold(entries) {
  const lines = [];
  for (const entry of entries) {
    const last = lines.at(-1);
    const isStep =
      last?.request_id &&
      last.request_id === entry.request_id &&
      last.action === entry.action &&
      last.target === entry.target;
    if (!isStep || entry.detail.moved === undefined)
      lines.push({ ...entry, detail: { ...entry.detail } });
    else
      last.detail = {
        ...last.detail,
        moved: last.detail.moved + entry.detail.moved,
        steps: (last.detail.steps ?? 1) + 1,
      };
  }
  return lines;
}

function row(entry) {
  const by = entry.by.startsWith("cli:") ? `${entry.by.slice(4)}, with the command` : entry.by;
  return [
    el("time", { datetime: entry.at, class: "when" }, moment(entry.at)),
    el("span", { class: "mono long" }, by),
    el("code", {}, entry.action),
    target(entry),
    detail(entry.detail),
    entry.request_id ? el("span", { class: "mono soft long" }, entry.request_id) : "",
  ];
}

function target({ action, target: to, detail: { filter } }) {
  if (filter?.id) return jobLink(filter.id, `…${filter.id.slice(-10)}`);
  if (to === "@operators") return "Operators";
  if (TENANT_ACTIONS.test(action)) return tenantLink(to);
  return to === "*" ? "All tenants" : words(to);
}

function detail(given) {
  const flat = Object.entries(given)
    .filter(([, value]) => value !== "")
    .map(
      ([name, value]) =>
        `${title(name).toLowerCase()} ${value && typeof value === "object" ? JSON.stringify(value) : value}`,
    );
  return el("span", { class: "soft long", dir: "auto" }, flat.join(", "));
}
