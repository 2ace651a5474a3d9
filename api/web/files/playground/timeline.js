// The timeline of a job, live or recorded.
import { el, fill } from "../shared/dom.js";
import { followEvents } from "../shared/events.js";
import { seconds } from "../shared/format.js";
import { deletedText } from "../shared/image.js";
import { changeWords, isFinal } from "./job_text.js";

/**
 * Follow a job from its creation until it is final or `signal` aborts. Call `changed(event)` at each
 * event; return the node that shows them.
 */
export function lifeOf(client, job, { signal, changed = () => {} }) {
  const list = el("ol", { class: "life" });
  const events = [];

  const tell = ({ data }) => {
    events.push(data);
    fill(
      list,
      events.map((event, index) => line(event, events, index)),
      job.image?.deleted_at && deletedLine(job.image),
    );
    changed(data);
  };
  followEvents(client, `/v1/jobs/${job.id}/events`, {
    tell,
    isOver: ({ data }) => isFinal(data),
    signal,
  }).catch((error) => signal.aborted || fill(list, el("li", { class: "bad" }, error.message)));
  return list;
}

function deletedLine(image) {
  return el("li", {}, el("span", { class: "at" }), el("span", {}, deletedText(image)));
}

function line(event, all, index) {
  const since = (Date.parse(event.at) - Date.parse(all[0].at)) / 1000;
  const isLast = index === all.length - 1;
  const kind =
    { succeeded: "good", failed: "bad", canceled: "idle" }[event.status] ??
    (isLast ? "now" : "past");
  return el(
    "li",
    { class: kind, "aria-current": isLast && !isFinal(event) ? "step" : null },
    el("span", { class: "at" }, index ? `+${seconds(since)}` : "0"),
    el("span", {}, changeWords(event, index === 0)),
  );
}
