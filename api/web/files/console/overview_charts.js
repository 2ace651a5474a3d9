// The charts of the overview.
import { number, seconds } from "../shared/format.js";
import { Chart, niceTime } from "./chart.js";

/** Sum each minute before a point: shorter steps would show noise. */
function perMinute({ points, step_seconds }, name) {
  const column = points[name];
  const steps = Math.max(Math.round(60 / step_seconds), 1);
  return column.map((value, index) => {
    if (value === null) return null;
    const known = column
      .slice(Math.max(index - steps + 1, 0), index + 1)
      .filter((one) => one !== null);
    return (known.reduce((all, one) => all + one, 0) / known.length) * (60 / step_seconds);
  });
}

/** Return `{chart, read}` for each chart; `read(history)` extracts what it shows. */
export function chartsOf() {
  const chart = (heading, lines, words, read, round) => ({
    chart: new Chart({ heading, lines, words, round }),
    read: (history) => ({
      at: history.points.at.map((at) => Date.parse(at)),
      closed: history.points.blocked_by,
      values: Object.fromEntries(lines.map(({ name }) => [name, read(history, name)])),
    }),
  });
  const rate = (value) => number(Math.round(value * 10) / 10);
  const plain = (history, name) => history.points[name];
  return [
    chart(
      "Jobs per minute",
      [
        { name: "accepted", label: "Accepted", tone: "busy" },
        { name: "succeeded", label: "Succeeded", tone: "good" },
        { name: "failed", label: "Failed", tone: "bad" },
      ],
      rate,
      perMinute,
    ),
    chart(
      "Waiting and running",
      [
        { name: "waiting", label: "Waiting", tone: "wait" },
        { name: "running", label: "Running", tone: "busy" },
      ],
      (value) => number(Math.round(value)),
      plain,
    ),
    chart(
      "Oldest waiting",
      [{ name: "oldest_age_seconds", label: "Oldest", tone: "wait" }],
      (value) => (value ? seconds(value) : "0 s"),
      plain,
      niceTime,
    ),
    chart(
      "Retries and webhooks",
      [
        { name: "requeued", label: "Retries per minute", tone: "bad" },
        { name: "webhooks", label: "Pending webhooks", tone: "busy" },
      ],
      rate,
      (history, name) => (name === "requeued" ? perMinute(history, name) : history.points[name]),
    ),
  ];
}
