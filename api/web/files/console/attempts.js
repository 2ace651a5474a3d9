// The attempts of a job, and its timeline.
import { el } from "../shared/dom.js";
import { count, moment, seconds, title } from "../shared/format.js";
import { card, endBadge, when } from "./formatters.js";

export function attemptsCard({ attempts, provider, workers_lost }) {
  const about = `${count(provider.calls, "call")} to the provider${provider.unknown_outcomes ? `, ${provider.unknown_outcomes} with an unknown outcome` : ""}${provider.regenerated ? ", generated once more" : ""}${workers_lost ? `, ${count(workers_lost, "worker")} lost` : ""}`;
  if (!attempts.length)
    return card("Attempts", null, el("p", { class: "soft" }, "No worker has started it."));
  const runs = new Set(attempts.map(({ run }) => run)).size > 1;
  return card(
    "Attempts",
    el("span", { class: "soft small-text" }, about),
    el("ol", { class: "attempts" }, attempts.map((one) => attempt(one, runs)).reverse()),
  );
}

function attempt(one, runs) {
  return el(
    "li",
    {},
    el(
      "div",
      { class: "row" },
      el("strong", {}, `${runs ? `Run ${one.run}, attempt` : "Attempt"} ${one.number}`),
      endBadge(one.outcome),
      one.error_code && el("span", { class: "tag" }, title(one.error_code)),
      el(
        "span",
        { class: "soft small-text" },
        when(one.started_at),
        one.seconds !== null && `, ${seconds(one.seconds)}`,
      ),
    ),
    el("p", { class: "soft small-text" }, steps(one)),
    one.response_excerpt &&
      el(
        "pre",
        {
          class: "response wrap",
          dir: "auto",
          tabindex: 0,
          role: "region",
          "aria-label": "Response",
        },
        one.response_excerpt,
      ),
  );
}

/** "claimed 2 ms → calling 0.91 s → fetching 51 ms". */
function steps({ steps: all, ended_at }) {
  const words = all.map(({ step, at }, index) => {
    const end = all[index + 1]?.at ?? ended_at;
    return end ? `${step} ${seconds((Date.parse(end) - Date.parse(at)) / 1000)}` : `${step}…`;
  });
  return words.join(" → ");
}

export function timelineCard({ timeline, created_at }) {
  const begun = Date.parse(created_at);
  const lines = timeline.map(({ version, at, status, step, attempt: number }) =>
    el(
      "li",
      {},
      el(
        "time",
        { datetime: at, title: moment(at), class: "mono" },
        `+${seconds((Date.parse(at) - begun) / 1000)}`,
      ),
      el("span", {}, step ? `${status}: ${step}` : status),
      el(
        "span",
        { class: "soft small-text" },
        `version ${version}${number ? `, attempt ${number}` : ""}`,
      ),
    ),
  );
  return card(
    "Timeline",
    el("span", { class: "soft small-text" }, moment(created_at)),
    el("ol", { class: "timeline" }, lines),
  );
}
