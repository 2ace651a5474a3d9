// One job in full: image, timeline, details, and actions.
import { imageAddress } from "../shared/address.js";
import { codeBlock } from "../shared/code.js";
import { button } from "../shared/controls.js";
import { el, fill } from "../shared/dom.js";
import { seconds } from "../shared/format.js";
import { icon } from "../shared/icons.js";
import { hasImage } from "../shared/image.js";
import { trouble } from "../shared/notices.js";
import { retryWords } from "../shared/retry.js";
import { badgeOf, imageOf, placeholderOf } from "./image_view.js";
import { isFinal, waitingWords } from "./job_text.js";
import { numbersOf } from "./numbers.js";
import { lifeOf } from "./timeline.js";

/** How often to poll a job that is not final, besides its events, in milliseconds. */
const PLACE_MS = 2000;

export class JobView {
  /** `actions` handle the buttons; `changed(job)` is called whenever the job changes. */
  constructor(client, job, actions, changed = () => {}) {
    this.client = client;
    this.actions = actions;
    this.changed = changed;
    this.stop = new AbortController();
    this.parts = Object.fromEntries(
      ["figure", "state", "notices", "numbers"].map((name) => [name, el("div", { class: name })]),
    );
    this.bar = el("div", {
      class: "row actions",
      role: "group",
      "aria-label": "Actions",
    });
    this.json = codeBlock("the job as JSON", "", { wrap: true });
    this.life = lifeOf(client, job, { signal: this.stop.signal, changed: () => this.refresh() });
    this.clock = setInterval(() => this.#tick(), 100);
    this.#show(job);
    this.#keepPlace();
    this.stop.signal.addEventListener("abort", () => clearInterval(this.clock));
  }

  /** Everything but the image, which may stand elsewhere. */
  get facts() {
    return [
      this.parts.notices,
      this.bar,
      el("div", { class: "job-facts" }, this.life, this.parts.numbers),
    ];
  }

  /** Stop following the job. */
  close() {
    this.stop.abort();
  }

  /** Read the job again. */
  async refresh() {
    try {
      const job = await this.client.get(
        `/v1/jobs/${this.job.id}`,
        {},
        { signal: this.stop.signal },
      );
      if (job.version >= this.job.version) this.#show(job);
    } catch (error) {
      if (!this.stop.signal.aborted && error.status === 404) this.#gone(error);
    }
  }

  #show(job) {
    const before = this.job;
    const hadImage = before ? hasImage(before) : false;
    this.job = job;
    if (!hadImage || !hasImage(job))
      fill(this.parts.figure, hasImage(job) ? imageOf(job) : placeholderOf(job));
    if (before?.status !== job.status || hadImage !== hasImage(job)) this.#showDeeds();
    fill(
      this.parts.notices,
      job.error &&
        job.status === "failed" &&
        trouble(
          { title: "Failed", message: job.error.message, faults: [] },
          el("p", { class: "small-text" }, retryWords(job.error)),
        ),
    );
    fill(this.parts.numbers, numbersOf(job));
    this.json.set(JSON.stringify(job, null, 2));
    this.#tick();
    if (before?.version !== job.version) this.changed(job);
    if (isFinal(job)) clearInterval(this.clock);
  }

  #gone(error) {
    this.close();
    fill(this.parts.notices, trouble(error));
    fill(this.bar);
  }

  #tick() {
    const { job } = this;
    const took =
      ((job.finished_at ? Date.parse(job.finished_at) : Date.now()) - Date.parse(job.created_at)) /
      1000;
    const time =
      isFinal(job) || took < 0
        ? ""
        : el("span", { class: "soft clock", "aria-hidden": true }, seconds(took));
    const words = `${job.status} ${waitingWords(job)} ${time?.textContent}`;
    if (words === this.words) return;
    this.words = words;
    fill(this.parts.state, badgeOf(job), time, el("span", { class: "soft" }, waitingWords(job)));
  }

  /** Poll: the position changes without an event, and a read after an event may fail. */
  #keepPlace() {
    const timer = setInterval(() => {
      if (isFinal(this.job)) clearInterval(timer);
      else if (!document.hidden) this.refresh();
    }, PLACE_MS);
    this.stop.signal.addEventListener("abort", () => clearInterval(timer));
  }

  #showDeeds() {
    const hadFocus = this.bar.contains(document.activeElement);
    fill(
      this.bar,
      actionsFor(this.job).map(([name, drawing, words, kind]) =>
        this.#button(name, drawing, words, kind),
      ),
    );
    if (hadFocus) this.bar.querySelector("button, a")?.focus();
  }

  #button(name, drawing, words, kind = "") {
    if (name === "download") return downloadOf(this.job, icon(drawing), words);
    const act = async ({ currentTarget }) => {
      currentTarget.disabled = true;
      await this.actions[name](this.job, this);
      currentTarget.disabled = false;
    };
    return button(words, act, { kind: `small ${kind}`, drawing });
  }
}

/** The actions for the job's state: [action, icon, label, kind]. */
function actionsFor(job) {
  const { status, error } = job;
  const always = [
    ["use", "pencil", "Use parameters"],
    ["code", "code", "Code"],
    ["link", "link", "Copy link"],
  ];
  if (!isFinal({ status })) return [["cancel", "stop", "Cancel", "bad"], ...always];
  const remove = ["remove", "bin", "Delete", "bad"];
  if (status === "failed" && !error.retryable) return [...always, remove];
  if (status !== "succeeded") return [["retry", "again", "Try again"], ...always, remove];
  const again = [
    ["vary", "dice", "Vary"],
    ["reproduce", "again", "Reproduce"],
  ];
  // without its image, a job has nothing to download or to share
  if (!hasImage(job)) return [...again, ...always.filter(([name]) => name !== "link"), remove];
  return [["download", "download", "Download"], ...again, ...always, remove];
}

function downloadOf(job, ...inside) {
  const download = `${job.id}.${job.image.key.split(".").at(-1)}`;
  return el("a", { class: "button small", href: imageAddress(job), download }, inside);
}
