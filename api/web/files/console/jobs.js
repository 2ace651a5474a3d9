// The jobs of all tenants: search and bulk actions.
import { el } from "../shared/dom.js";
import { count, seconds, title } from "../shared/format.js";
import { actionButton } from "./actions.js";
import { changeMany } from "./bulk.js";
import { ERROR_CODES, STATUSES } from "./enums.js";
import { filterForm } from "./filter.js";
import { jobBadge, jobLink, tenantLink, when } from "./formatters.js";
import { listView } from "./list_view.js";
import { nothingFound } from "./listing.js";
import { statusLinks } from "./statuses.js";

const FIELDS = [
  { name: "id", label: "Id", kind: "text", about: "job_…" },
  { name: "status", label: "Status", kind: "choice", choices: STATUSES },
  { name: "error_code", label: "Error", kind: "choice", choices: ERROR_CODES },
  { name: "tenant", label: "Tenant", kind: "text" },
  { name: "tag", label: "Tag", kind: "text" },
  { name: "q", label: "Words of the prompt", kind: "text" },
  { name: "created_after", label: "Created after", kind: "time", more: true },
  { name: "created_before", label: "Created before", kind: "time", more: true },
  { name: "model", label: "Model", kind: "text", more: true },
  { name: "served_model", label: "Served by", kind: "text", about: "Model", more: true },
  { name: "batch_id", label: "Batch", kind: "text", about: "batch_…", more: true },
  { name: "metadata", label: "Metadata", kind: "pairs", about: "order=A-17, size=L", more: true },
  { name: "seed", label: "Seed", kind: "text", more: true },
];
const COLUMNS = ["Job", "Status", "Tenant", "Prompt", "Attempt", "Created", "Took", "Error"];

export function jobs({ client, may, live, place }) {
  const at = { query: place.query };
  const act = (verb) => () => changeMany(client, verb, at.query).then((done) => done && live.now());
  const bulk = [
    actionButton(may, "Retry all matching…", act("retry"), {
      drawing: "again",
      title: "Shows how many first",
    }),
    actionButton(may, "Cancel all matching…", act("cancel"), {
      drawing: "stop",
      kind: "bad",
      title: "Shows how many first",
    }),
    actionButton(may, "Delete all matching…", act("delete"), {
      drawing: "bin",
      kind: "bad",
      title: "Shows how many first",
    }),
  ];
  return listView({
    heading: "Jobs",
    client,
    at,
    tools: el("div", { class: "row" }, bulk),
    bulk: may ? bulk : [],
    filter: filterForm("jobs", FIELDS),
    beside: statusLinks(client),
    list: {
      caption: "Jobs, newest first",
      columns: COLUMNS,
      row,
      path: "jobs",
      nothing: nothingFound("job", "Jobs appear here when a tenant creates one.", "jobs"),
    },
  });
}

function row(job) {
  return [
    jobLink(job.id, shortId(job.id)),
    jobBadge(job),
    tenantLink(job.tenant),
    job.prompt_withheld
      ? el("span", { class: "soft" }, "Not archived")
      : el("span", { class: "prompt", dir: "auto", title: job.input.prompt }, job.input.prompt),
    attemptWords(job),
    when(job.created_at),
    job.finished_at
      ? el("span", { class: "when" }, seconds(job.timings.total))
      : el("span", { class: "soft" }, "–"),
    job.error ? el("span", { title: job.error.message }, title(job.error.code)) : "",
  ];
}

/** Shorten an id to its distinctive end. */
function shortId(id) {
  return `…${id.slice(-10)}`;
}

function attemptWords(job) {
  const run = job.run > 1 ? `, ${count(job.run, "run")}` : "";
  return `${job.attempt} of ${job.max_attempts}${run}`;
}
