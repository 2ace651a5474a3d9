// The filters of the gallery.
import { field } from "../shared/controls.js";
import { el, later } from "../shared/dom.js";
import { STATUSES, statusWords } from "./job_text.js";

const HOUR = 3_600_000;
const TYPED_MS = 350;
const BETWEEN = "between";
const SINCE = [
  ["", "Any time"],
  [1, "Last hour"],
  [24, "Last 24 hours"],
  [168, "Last 7 days"],
  [BETWEEN, "Between…"],
];

export class Filters {
  /** `changed` is called when the filter changes. */
  constructor(models, changed) {
    const statuses = STATUSES.map((word) => [word, statusWords(word)[0]]);
    const names = models.map(({ id, name }) => [id, name]);
    this.status = select([["", "Any status"], ...statuses], changed);
    this.model = select([["", "Any model"], ...names], changed);
    this.since = select(SINCE, () => this.#chooseSince(changed));
    this.tag = el("input", {
      type: "search",
      placeholder: "Any tag",
      dir: "auto",
      oninput: later(TYPED_MS, changed),
    });
    this.words = el("input", {
      type: "search",
      placeholder: "Any prompt",
      dir: "auto",
      oninput: later(TYPED_MS, changed),
    });
    this.from = el("input", { type: "datetime-local", onchange: changed });
    this.until = el("input", { type: "datetime-local", onchange: changed });
    this.between = filtersIn(
      field(this.labels.created_after, this.from),
      field(this.labels.created_before, this.until),
    );
    this.between.hidden = true;
    this.node = this.#build();
  }

  /** The labels of the parameters, for errors. */
  labels = {
    tag: "Tag",
    q: "Words of the prompt",
    created_after: "From",
    created_before: "Until",
  };

  /** The query for `GET /v1/jobs`. */
  get query() {
    const isBetween = this.since.value === BETWEEN;
    return {
      status: this.status.value,
      model: this.model.value,
      tag: this.tag.value.trim(),
      q: this.words.value.trim(),
      created_after: isBetween ? moment(this.from.value) : hoursAgo(this.since.value),
      created_before: isBetween ? moment(this.until.value) : "",
    };
  }

  #chooseSince(changed) {
    this.between.hidden = this.since.value !== BETWEEN;
    changed();
  }

  #build() {
    return el(
      "form",
      {
        class: "stack tight",
        role: "search",
        "aria-label": "Your images",
        onsubmit: (event) => event.preventDefault(),
      },
      filtersIn(
        field("Status", this.status),
        field("Model", this.model),
        field(this.labels.tag, this.tag),
        field(this.labels.q, this.words),
        field("Created", this.since),
      ),
      this.between,
    );
  }
}

/** Return whether a job matches a query; what a word is, only the API decides. */
export function fits(job, { status, model, tag, created_after: after, created_before: before }) {
  return (
    (!status || job.status === status) &&
    (!model || job.model === model) &&
    (!tag || job.tags.includes(tag)) &&
    (!after || job.created_at >= after) &&
    (!before || job.created_at <= before)
  );
}

function filtersIn(...fields) {
  return el("div", { class: "filters" }, fields);
}

function select(options, onchange) {
  return el(
    "select",
    { onchange },
    options.map(([value, words]) => el("option", { value }, words)),
  );
}

function moment(local) {
  return local ? new Date(local).toISOString() : "";
}

function hoursAgo(hours) {
  return hours ? new Date(Date.now() - Number(hours) * HOUR).toISOString() : "";
}
