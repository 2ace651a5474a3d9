// The charts of the last hours.
import { number, seconds } from "../shared/format.js";
import { Chart, niceTime } from "./chart.js";

/** What happened in the minute before each point: short steps alone would only show noise. */
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

/** Gives `{chart, read}` for each: `read(told)` makes of a history what the chart shows. */
export function chartsOf() {
  const chart = (heading, lines, words, read, round) => ({
    chart: new Chart({ heading, lines, words, round }),
    read: (told) => ({
      at: told.points.at.map((at) => Date.parse(at)),
      closed: told.points.blocked_by,
      values: Object.fromEntries(lines.map(({ name }) => [name, read(told, name)])),
    }),
  });
  const rate = (value) => number(Math.round(value * 10) / 10);
  const plain = (told, name) => told.points[name];
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
        { name: "again", label: "Retries per minute", tone: "bad" },
        { name: "webhooks", label: "Pending webhooks", tone: "busy" },
      ],
      rate,
      (told, name) => (name === "again" ? perMinute(told, name) : told.points[name]),
    ),
  ];
}
