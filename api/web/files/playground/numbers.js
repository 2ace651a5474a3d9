// The details of a job.
import { copy } from "../shared/code.js";
import { iconButton } from "../shared/controls.js";
import { el } from "../shared/dom.js";
import { ago, bytes, moment, seconds } from "../shared/format.js";
import { warningWords } from "./job_text.js";

const TIMES = { wait: "waited", provider: "provider", download: "download", store: "stored" };

/** Return the details of a job as a list. */
export function numbersOf(job) {
  return el(
    "dl",
    { class: "facts" },
    factsOf(job)
      .filter(([, value]) => value)
      .map(([name, value]) => [el("dt", {}, name), el("dd", {}, value)]),
  );
}

function factsOf(job) {
  const { image, timings, provider } = job;
  return [
    [
      "Image",
      image && `${image.width} × ${image.height}, ${bytes(image.bytes)}, ${image.content_type}`,
    ],
    ["Differs", image?.warnings.map(warningWords).join("; ")],
    ["Made by", job.served_model !== job.model && job.served_model],
    ["Seed", taken(String(job.input.seed ?? ""), "Seed")],
    ["Time", timings.total !== null && timesOf(timings)],
    ["Attempts", job.attempt > 1 && `${job.attempt} of at most ${job.max_attempts}`],
    [
      "Paid calls",
      provider.calls > 1 &&
        `${provider.calls}, of which ${provider.unknown_outcomes} with unknown outcome`,
    ],
    ["SHA-256", image && taken(image.sha256, "SHA-256", `${image.sha256.slice(0, 16)}…`)],
    ["Job", taken(job.id, "Job id")],
    ["Batch", job.batch_id && taken(job.batch_id, "Id of the batch")],
    ["Model", job.model],
    ["Priority", job.priority !== "normal" && job.priority],
    [
      "Tags",
      job.tags.length > 0 &&
        el(
          "span",
          { class: "row" },
          job.tags.map((tag) => el("span", { class: "tag", dir: "auto" }, tag)),
        ),
    ],
    ["Metadata", metadataOf(job.metadata)],
    ["Requested", when(job.created_at)],
    ["Image will be deleted", image?.expires_at && when(image.expires_at)],
    ["Image deleted", image?.deleted_at && when(image.deleted_at)],
    ["Job will be deleted", job.expires_at && when(job.expires_at)],
  ];
}

function metadataOf(metadata) {
  const pairs = Object.entries(metadata);
  return (
    pairs.length > 0 &&
    pairs.map(([name, value]) =>
      el("div", {}, el("bdi", { class: "soft" }, name), ": ", el("bdi", {}, value)),
    )
  );
}

function timesOf(timings) {
  const parts = Object.entries(TIMES)
    .filter(([name]) => timings[name] !== null)
    .map(([name, word]) => `${word} ${seconds(timings[name])}`);
  return `${seconds(timings.total)} in all: ${parts.join(", ")}`;
}

function when(at) {
  return el("time", { datetime: at, title: moment(at) }, ago(at));
}

/** A value with a copy button. */
function taken(value, what, shown = value) {
  if (!value) return null;
  const take = iconButton("copy", `Copy ${what}`, () => copy(value, what), { kind: "quiet tiny" });
  return el("span", { class: "taken" }, el("span", { class: "mono", title: value }, shown), take);
}
