// Which of the caller's jobs the gallery shows.
import { el, freshId, later } from "../parts/dom.js";
import { STATUSES, statusWords } from "./told.js";

const HOUR = 3_600_000;
const SINCE = [
  ["", "Any time"],
  [1, "Last hour"],
  [24, "Last 24 hours"],
  [168, "Last 7 days"],
  ["between", "Between…"],
];
const TYPED_MS = 350;

/** Gives {node, query}: `query()` is what `GET /v1/jobs` takes; `changed` is called when it is another. */
export function filtersOf(models, changed) {
  const status = select(
    "Status",
    [["", "Any status"], ...STATUSES.map((word) => [word, statusWords(word)[0]])],
    changed,
  );
  const model = select(
    "Model",
    [["", "Any model"], ...models.map(({ id, name }) => [id, name])],
    changed,
  );
  const since = select("Created", SINCE, () => {
    between.hidden = since.value !== "between";
    changed();
  });
  const tag = input("Tag", {
    type: "search",
    placeholder: "Any tag",
    oninput: later(TYPED_MS, changed),
  });
  const from = input("From", { type: "datetime-local", onchange: changed });
  const until = input("Until", { type: "datetime-local", onchange: changed });
  const between = el("div", { class: "filters", hidden: true }, from.node, until.node);

  function query() {
    const isBetween = since.value === "between";
    return {
      status: status.value,
      model: model.value,
      tag: tag.value.trim(),
      created_after: isBetween ? moment(from.value) : hoursAgo(since.value),
      created_before: isBetween ? moment(until.value) : "",
    };
  }

  const node = el(
    "form",
    {
      class: "stack tight",
      role: "search",
      "aria-label": "Your pictures",
      onsubmit: (event) => event.preventDefault(),
    },
    el("div", { class: "filters" }, status.node, model.node, tag.node, since.node),
    between,
  );
  return { node, query };
}

/** Tells whether a job is one that a query asks for. */
export function fits(job, { status, model, tag, created_after: after, created_before: before }) {
  return (
    (!status || job.status === status) &&
    (!model || job.model === model) &&
    (!tag || job.tags.includes(tag)) &&
    (!after || job.created_at >= after) &&
    (!before || job.created_at <= before)
  );
}

function moment(local) {
  return local ? new Date(local).toISOString() : "";
}

function hoursAgo(hours) {
  return hours ? new Date(Date.now() - Number(hours) * HOUR).toISOString() : "";
}

function select(label, options, onchange) {
  return wrapped(
    label,
    el(
      "select",
      { onchange },
      options.map(([value, words]) => el("option", { value }, words)),
    ),
  );
}

function input(label, attributes) {
  return wrapped(label, el("input", attributes));
}

function wrapped(label, control) {
  control.id = freshId("filter");
  const node = el("div", { class: "field" }, el("label", { for: control.id }, label), control);
  return {
    node,
    get value() {
      return control.value;
    },
  };
}
