// The overview: current state, problems, and the last hours.
import { el, fill } from "../shared/dom.js";
import { moment, number, seconds, title } from "../shared/format.js";
import { actionButton, ask } from "./actions.js";
import { card } from "./formatters.js";
import { FLOWS, keyName, verdictBox, verdicts } from "./health_summary.js";
import { chartsOf } from "./overview_charts.js";
import { failuresCard, gateCard, partsCard, tilesOf } from "./overview_parts.js";
import { link } from "./router.js";

const HOURS = [1, 6, 24, 48];
const QUEUES = { generate: "Images", deliver: "Webhooks" };
/** A long history changes slowly. */
const HISTORY_EVERY_MS = 10_000;

export function now({ client, may, live, place }) {
  const hours = HOURS.includes(Number(place.query.hours)) ? Number(place.query.hours) : 1;
  const notices = el("div", { class: "stack tight" });
  const tiles = el("div", { class: "tiles" });
  const below = el("div", { class: "columns" });
  const charts = chartsOf();
  const range = el(
    "div",
    { class: "choices", role: "group", "aria-label": "Time range" },
    HOURS.map((one) =>
      el(
        "a",
        {
          class: "button small",
          href: link("now", { hours: one === 1 ? "" : one }),
          "aria-current": one === hours ? "true" : null,
        },
        one === 1 ? "1 hour" : `${one} hours`,
      ),
    ),
  );
  const node = el(
    "div",
    { class: "stack" },
    el("h1", { class: "unseen" }, "Now"),
    notices,
    tiles,
    el(
      "section",
      { class: "stack tight" },
      el("div", { class: "row apart" }, el("h2", {}, "The last hours"), range),
      el(
        "div",
        { class: "charts" },
        charts.map((one) => one.chart.node),
      ),
      el(
        "p",
        { class: "soft small-text" },
        "Shaded: no new provider calls. Gaps: no data, for example while Redis or every worker was down.",
      ),
    ),
    below,
  );
  let history = null;
  let askedAt = 0;

  async function load(signal) {
    const isDue = Date.now() - askedAt > HISTORY_EVERY_MS;
    const [now, past] = await Promise.all([
      client.get("/ops/v1/overview", {}, { signal }),
      isDue ? client.get("/ops/v1/history", { minutes: hours * 60 }, { signal }) : history,
    ]);
    if (isDue) askedAt = Date.now();
    history = past;
    const found = verdicts(now);
    fill(
      notices,
      (found.length ? found : [FLOWS]).map((one) =>
        verdictBox(one, one.queue && el("div", { class: "row" }, switchOf(one.queue, true))),
      ),
    );
    fill(tiles, tilesOf(now, past, hours));
    for (const { chart, read } of charts) chart.show(read(past));
    fill(
      below,
      el("div", { class: "stack" }, queuesCard(now), failuresCard(now)),
      el("div", { class: "stack" }, gateCard(now, keySwitch), partsCard(now)),
    );
  }

  function switchOf(name, isPaused) {
    const verb = isPaused ? "Resume" : "Pause";
    const act = () => turn(name, verb).then((done) => done && live.now());
    return actionButton(may, `${verb} ${QUEUES[name].toLowerCase()}`, act, {
      drawing: isPaused ? "play" : "pause",
      kind: isPaused ? "main" : "",
    });
  }

  function turn(name, verb) {
    const words = {
      Pause: `No new ${QUEUES[name].toLowerCase()} start until an operator resumes them. Running ones continue, and deadlines still apply.`,
      Resume: `Waiting ${QUEUES[name].toLowerCase()} start again at once.`,
    }[verb];
    return ask(
      `${verb} ${QUEUES[name].toLowerCase()}?`,
      words,
      verb,
      () => client.post(`/ops/v1/queues/${name}/${verb.toLowerCase()}`),
      () => `${QUEUES[name]}: ${verb.toLowerCase()}d`,
      { kind: verb === "Pause" ? "bad" : "main" },
    );
  }

  function keySwitch(key) {
    const verb = key.paused_at ? "Resume" : "Pause";
    const words = {
      Pause:
        "No job is started with this key until an operator resumes it. Running calls continue.",
      Resume: "The key is used again at once.",
    }[verb];
    const act = () =>
      ask(
        `${verb} key ${keyName(key)}?`,
        words,
        verb,
        () => client.post(`/ops/v1/provider-keys/${key.id}/${verb.toLowerCase()}`),
        () => `Key ${keyName(key)}: ${verb.toLowerCase()}d`,
        { kind: verb === "Pause" ? "bad" : "main" },
      ).then((done) => done && live.now());
    return actionButton(may, `${verb} key`, act, { drawing: key.paused_at ? "play" : "pause" });
  }

  function queuesCard(now) {
    return card(
      "Queues",
      null,
      el(
        "ul",
        { class: "queues" },
        now.queues.map((queue) =>
          el(
            "li",
            {},
            el(
              "div",
              { class: "row apart" },
              el(
                "span",
                { class: "row" },
                el("strong", {}, QUEUES[queue.name]),
                el(
                  "span",
                  { class: `badge ${queue.blocked_by ? "wait" : "good"}` },
                  queue.blocked_by ? title(queue.blocked_by) : "Open",
                ),
              ),
              switchOf(queue.name, queue.paused),
            ),
            el(
              "p",
              { class: "soft small-text" },
              `${number(queue.depth)} ready or due${queue.depth ? `, the oldest for ${seconds(queue.oldest_age_seconds)}` : ""} · ${number(queue.in_flight)} in flight${queue.paused_at ? ` · paused since ${moment(queue.paused_at)}` : ""}`,
            ),
          ),
        ),
      ),
    );
  }

  return { heading: "Now", node, load, seconds: 2, turn: null };
}
