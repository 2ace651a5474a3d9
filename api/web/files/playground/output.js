// The result of the last request: one job in full, with the other jobs of its batch.
import { button } from "../shared/controls.js";
import { el, fill } from "../shared/dom.js";
import { count } from "../shared/format.js";
import { loading, note } from "../shared/notices.js";
import { tabs } from "../shared/tabs.js";
import { exampleFigure } from "./example.js";
import { isFinal, statusWords, waitingWords } from "./job_text.js";
import { JobView } from "./job_view.js";
import { accept } from "./submit.js";
import { tileOf } from "./tile.js";

export class Output {
  #client;
  #actions;
  #jobs = [];
  #view = null;
  #stop = new AbortController();

  /** `seen(job)` is called for every job with an image, `refused(error)` if the request is refused. */
  constructor(client, feed, actions, { seen, refused }) {
    this.#client = client;
    this.#actions = actions;
    this.seen = seen;
    this.refused = refused;
    this.stage = el("div", { class: "stage" }, nothingYet());
    this.announcer = el("p", { class: "unseen", role: "status" });
    this.strip = el("ul", { class: "strip", "aria-label": "The variations", hidden: true });
    this.json = el("div", {}, el("p", { class: "soft" }, "The job appears here as JSON."));
    this.node = this.#build();
    feed.addEventListener("changed", ({ detail }) => this.#reload(detail));
  }

  #build() {
    const { bar, panels, choose } = tabs("Output", [
      { name: "preview", label: "Preview", panel: el("div", {}, this.stage) },
      { name: "json", label: "JSON", panel: this.json },
    ]);
    this.choose = choose;
    const head = el("h2", { id: "output-head", class: "grow" }, "Output");
    return el(
      "section",
      { class: "card output", "aria-labelledby": head.id },
      el("header", {}, head),
      bar,
      panels,
      this.announcer,
    );
  }

  /** Create jobs and follow them. */
  async run(body, variations) {
    this.#begin(loading("Sending the request…"));
    const { signal } = this.#stop;
    const waiting = (error) => fill(this.stage, this.#notYet(error));
    try {
      this.#take(await accept(this.#client, body, variations, { signal, waiting }));
    } catch (error) {
      if (signal.aborted) return;
      fill(this.stage, nothingYet());
      this.refused(error);
    }
  }

  /** Show an existing job. */
  show(job) {
    this.#begin(loading("Loading the job…"));
    this.#take([job]);
  }

  /** Return whether a job is shown here. */
  isAbout({ id }) {
    return this.#jobs.some((job) => job.id === id);
  }

  /** Clear the output. */
  clear() {
    this.#begin(nothingYet());
  }

  #begin(words) {
    this.#stop.abort();
    this.#stop = new AbortController();
    this.#view?.close();
    this.#jobs = [];
    this.strip.hidden = true;
    fill(this.stage, words);
    this.choose("preview");
    this.#comeIntoSight();
  }

  /** On phones the output is below the form: scroll to it. */
  #comeIntoSight() {
    const { top } = this.node.getBoundingClientRect();
    if (top > innerHeight / 2 || top < -innerHeight / 2)
      this.node.scrollIntoView({ block: "start" });
  }

  #notYet(error) {
    const words = `${error.message} The page retries automatically, and the job is created only once.`;
    this.announcer.textContent = words;
    const giveUp = () =>
      this.#begin(
        note("", "Stopped. If the job was accepted after all, it appears in the gallery."),
      );
    return note(
      "wait",
      el("strong", {}, "Not accepted yet"),
      el("p", {}, words),
      button("Stop retrying", giveUp, { kind: "small" }),
    );
  }

  #take(jobs) {
    this.#jobs = jobs;
    this.#look(jobs[0]);
    this.#drawStrip();
  }

  #look(job) {
    this.#view?.close();
    this.#view = new JobView(this.#client, job, this.#actions, (now) => this.#changed(now));
    const { figure, state } = this.#view.parts;
    fill(this.stage, figure, this.strip, state, this.#view.facts);
    fill(this.json, this.#view.json.node);
    this.#changed(job);
  }

  #changed(job) {
    this.#jobs = this.#jobs.map((one) => (one.id === job.id ? job : one));
    if (job.status === "succeeded") this.seen(job);
    if (job.id === this.#view?.job.id)
      this.announcer.textContent = `The job: ${statusWords(job.status)[0]}. ${waitingWords(job)}`;
    this.#drawStrip();
  }

  #drawStrip() {
    const many = this.#jobs.length > 1;
    this.strip.hidden = !many;
    if (!many) return;
    const done = this.#jobs.filter(isFinal).length;
    const focused = document.activeElement?.closest(".tile")?.dataset.job;
    this.strip.setAttribute("aria-label", `${count(this.#jobs.length, "variation")}, ${done} done`);
    fill(
      this.strip,
      this.#jobs.map((job) =>
        el(
          "li",
          {},
          tileOf(job, { chosen: job.id === this.#view?.job.id, open: () => this.#look(job) }),
        ),
      ),
    );
    if (focused && this.strip.isConnected)
      this.strip.querySelector(`[data-job="${focused}"]`)?.focus();
  }

  async #reload(ids) {
    const { signal } = this.#stop;
    const others = this.#jobs.filter((job) => ids.has(job.id) && job.id !== this.#view?.job.id);
    for (const { id } of others) {
      const now = await this.#client.get(`/v1/jobs/${id}`, {}, { signal }).catch(() => null);
      if (now && !signal.aborted) this.#changed(now);
    }
  }
}

function nothingYet() {
  const words = "Press Run. The image and its details appear here.";
  return el(
    "div",
    { class: "stack tight" },
    exampleFigure(),
    el("p", {}, el("strong", {}, "No image yet"), el("br"), words),
  );
}
