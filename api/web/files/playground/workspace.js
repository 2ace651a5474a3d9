// The playground of one key: the request, what comes of it, and the gallery, which know each other here.
import { connection } from "../shared/connection.js";
import { el } from "../shared/dom.js";
import { toast } from "../shared/notices.js";
import { openDetails } from "./details.js";
import { Feed } from "./event_feed.js";
import { EXAMPLE } from "./example.js";
import { Gallery } from "./gallery.js";
import { JobActions } from "./job_actions.js";
import { Output } from "./output.js";
import { Parameters, readLink } from "./parameters.js";
import { RequestPanel } from "./request.js";

export class Bench {
  #stop = new AbortController();

  /**
   * `draft` is what was asked for at another bench. Without a key `needKey(name)` is called for what
   * needs one.
   */
  constructor(client, models, { draft = null, needKey = null } = {}) {
    this.models = models;
    this.draft = draft;
    this.hasKey = needKey === null;
    this.feed = new Feed(client);
    this.parameters = new Parameters(models);
    this.deeds = new JobActions(client, this);
    this.output = new Output(client, this.feed, this.deeds, {
      seen: (job) => this.request.form.noteSeed(job.input.seed),
      refused: (error) => this.request.refused(error),
    });
    this.request = new RequestPanel(client, this.parameters, {
      run: (body, count) => this.output.run(body, count),
      needKey,
    });
    this.gallery = new Gallery(client, this.feed, models, (job) =>
      openDetails(client, job, this.deeds),
    );
    const both = el("div", { class: "bench" }, this.request.node, this.output.node);
    this.nodes = this.hasKey ? [both, this.gallery.node] : [both];
  }

  /** Begins, once the nodes are on the page. */
  begin() {
    const { signal } = this.#stop;
    this.request.focus({ select: this.#takeFirst() });
    if (!this.hasKey) return;
    connection.addEventListener("back", () => this.gallery.load(), { signal });
    this.feed.start();
    this.gallery.load();
  }

  /** What is in the form now, for another bench to begin with. */
  get asked() {
    const { body, variations } = this.parameters;
    return { body, variations };
  }

  /** Leaves nothing running. */
  close() {
    this.#stop.abort();
    this.feed.stop();
    this.output.clear();
    closeDialogs();
  }

  /** Puts parameters into the form. */
  use(body) {
    closeDialogs();
    this.parameters.take(body);
    this.request.focus();
    toast("Parameters copied to the form");
  }

  /** Asks for images. */
  run(body) {
    closeDialogs();
    this.output.run(body, this.parameters.variations);
  }

  /** Shows a job that was asked for. */
  show(job) {
    closeDialogs();
    this.output.show(job);
  }

  /** Forgets a job that is no more. */
  gone(job) {
    closeDialogs();
    this.gallery.forget(job.id);
    if (this.output.isAbout(job)) this.output.clear();
  }

  /** Puts the parameters of the address into the form; gives whether it has any. */
  takeLink() {
    const told = readLink(location.hash, this.models);
    if (told) this.#take(told);
    return told !== null;
  }

  /** Puts something into a new form; gives whether it is the example. */
  #takeFirst() {
    if (this.draft) this.#take(this.draft);
    else if (!this.takeLink()) {
      this.parameters.take(EXAMPLE);
      return true;
    }
    return false;
  }

  #take({ body, variations }) {
    this.parameters.take(body, { variations });
  }
}

function closeDialogs() {
  for (const dialog of document.querySelectorAll("dialog[open]")) dialog.close();
}
