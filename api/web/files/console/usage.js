// Usage by day and more: a chart, a table with its total, and the same as CSV.
import { button, field } from "../shared/controls.js";
import { el, fill } from "../shared/dom.js";
import { number } from "../shared/format.js";
import { empty, note, toast, trouble } from "../shared/notices.js";
import { Chart } from "./chart.js";
import { cardTable, tenantLink, words } from "./formatters.js";
import { go } from "./router.js";

const PATH = "/ops/v1/usage";
const GROUPS = {
  day: "Day",
  month: "Month",
  tenant: "Tenant",
  model: "Model",
  key: "API key",
  tag: "Tags",
  status: "Status",
};
const SUMS = { jobs: "Jobs", calls: "Calls", credits: "Credits (estimated)" };
const DAY_MS = 86_400_000;
const CREDITS = new Intl.NumberFormat("en", { maximumFractionDigits: 6 });
const SHORT = new Intl.DateTimeFormat("en", { day: "numeric", month: "short", timeZone: "UTC" });

export function usage({ client, place }) {
  let query = place.query;
  const form = spanForm();
  const chart = new Chart({
    heading: "By day",
    lines: [
      { name: "jobs", label: "Jobs", tone: "busy" },
      { name: "calls", label: "Calls", tone: "good" },
    ],
    words: number,
    bars: true,
    time: (at) => isoDay(at),
    tick: (at) => SHORT.format(at),
  });
  const table = el("div", {});
  const notices = el("div", { class: "notices" });
  const save = button("Download CSV", saveCsv, { drawing: "download", kind: "small" });
  const node = el(
    "div",
    { class: "stack" },
    el("div", { class: "row apart" }, el("h1", {}, "Usage"), save),
    notices,
    form.node,
    chart.node,
    table,
  );
  form.fits(query);

  async function load(signal) {
    const get = (group_by) => client.get(PATH, { ...query, group_by }, { signal });
    const chosen = query.group_by || "day";
    const byDay = get("day");
    const [days, rows] = await Promise.all([byDay, chosen === "day" ? byDay : get(chosen)]);
    const isUnknown = !rows.data.length && query.tenant && !(await isTenant(query.tenant, signal));
    form.spans(rows);
    chart.show(seriesOf(days));
    fill(table, isUnknown ? unknownTenant(query.tenant) : tableOf(rows));
  }

  async function isTenant(name, signal) {
    try {
      await client.get(`/ops/v1/tenants/${encodeURIComponent(name)}`, {}, { signal });
    } catch (error) {
      if (error.status === 404) return false;
      throw error;
    }
    return true;
  }

  async function saveCsv() {
    fill(notices);
    try {
      const answer = await client.open("GET", PATH, { query, headers: { Accept: "text/csv" } });
      const name = /filename="([^"]+)"/.exec(answer.headers.get("content-disposition") ?? "");
      const href = URL.createObjectURL(await answer.blob());
      el("a", { href, download: name?.[1] ?? "usage.csv" }).click();
      URL.revokeObjectURL(href);
      toast("Saved as CSV");
    } catch (error) {
      fill(notices, trouble(error));
    }
  }

  return {
    heading: "Usage",
    node,
    load,
    seconds: 60,
    turn(changed) {
      query = changed;
      fill(notices);
      form.fits(query);
    },
  };
}

/** The form of month, span, tenant and grouping; each choice goes into the URL at once. */
function spanForm() {
  const month = el("input", { type: "month" });
  const from = el("input", { type: "date" });
  const to = el("input", { type: "date" });
  const tenant = el("input", { type: "search", autocomplete: "off", spellcheck: "false" });
  const groups = Object.entries(GROUPS).map(([name, label]) => [
    name,
    el("input", { type: "checkbox", name, data: { keep: name } }),
    label,
  ]);
  const node = el(
    "form",
    {
      class: "stack tight filter",
      role: "search",
      "aria-label": "Filter usage",
      onchange: apply,
      onsubmit: apply,
    },
    el(
      "div",
      { class: "filters" },
      field("Month", month),
      field("From (UTC)", from),
      field("To, included", to),
      field("Tenant", tenant),
    ),
    el(
      "fieldset",
      { class: "row" },
      el("legend", { class: "label" }, "Group by"),
      groups.map(([, input, label]) => el("label", { class: "row" }, input, label)),
    ),
  );

  function apply(event) {
    event.preventDefault();
    const ofMonth = event.target === month && month.value ? spanOf(month.value) : null;
    const chosen = groups.filter(([, input]) => input.checked).map(([name]) => name);
    go("usage", {
      ...(ofMonth ?? { from: from.value, to: to.value }),
      tenant: tenant.value.trim(),
      group_by: chosen.join(","),
    });
  }

  function fits(query) {
    const chosen = (query.group_by || "day").split(",");
    for (const [name, input] of groups) input.checked = chosen.includes(name);
    tenant.value = query.tenant ?? "";
  }

  /** Show the span of a report. */
  function spans(report) {
    if (node.contains(document.activeElement) && document.activeElement.type === "date") return;
    from.value = report.from;
    to.value = report.to;
    month.value = report.from.slice(0, 7) === report.to.slice(0, 7) ? report.from.slice(0, 7) : "";
  }

  return { node, fits, spans };
}

function isoDay(at) {
  return new Date(at).toISOString().slice(0, 10);
}

/** The first and the last day of a month such as "2026-11". */
function spanOf(month) {
  const [year, number_] = month.split("-").map(Number);
  return { from: `${month}-01`, to: isoDay(Date.UTC(year, number_, 0)) };
}

/** All days of a report, with 0 for those without a row. */
function seriesOf({ from, to, data }) {
  const rows = new Map(data.map((row) => [row.day, row]));
  const days = Math.round((Date.parse(to) - Date.parse(from)) / DAY_MS) + 1;
  const at = Array.from({ length: days }, (_, index) => Date.parse(from) + index * DAY_MS);
  const column = (name) => at.map((time) => rows.get(isoDay(time))?.[name] ?? 0);
  return {
    at,
    closed: at.map(() => null),
    values: { jobs: column("jobs"), calls: column("calls") },
  };
}

function unknownTenant(name) {
  return note(
    "wait",
    el("strong", {}, "Unknown tenant"),
    el("p", {}, "There is no tenant ", words(name), "."),
  );
}

function tableOf({ group_by, data, total }) {
  if (!data.length) {
    return empty("clock", "Nothing ended on these days", el("p", {}, "Choose another month."));
  }
  const columns = [...group_by.map((name) => GROUPS[name]), ...Object.values(SUMS)];
  const rows = data.map((row) => [...group_by.map((name) => cell(name, row)), ...sums(row)]);
  const strong = (text) => el("strong", {}, text);
  const last = [strong("Total"), ...group_by.slice(1).map(() => ""), ...sums(total).map(strong)];
  return cardTable("Usage", columns, [...rows, last]);
}

function cell(name, row) {
  if (name === "tenant") return tenantLink(row.tenant);
  if (name === "tag") return words(row.tags.join(", ") || "–");
  if (name === "key") return el("span", { class: "mono long" }, row.key ?? "unknown");
  return words(row[name]);
}

function sums(row) {
  return [number(row.jobs), number(row.calls), CREDITS.format(row.credits)];
}
