// The playground for one key: connects the request, its output, and the gallery.
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

export class Workspace {
  #stop = new AbortController();
  #previous;

  /**
   * `draft` is the form's content of the previous workspace. Without a key, `needKey(name)` is called
   * for actions that need one.
   */
  constructor(client, models, { draft = null, needKey = null } = {}) {
    this.models = models;
    this.#previous = draft;
    this.hasKey = needKey === null;
    this.feed = new Feed(client);
    this.parameters = new Parameters(models);
    this.actions = new JobActions(client, this);
    this.output = new Output(client, this.feed, this.actions, {
      seen: (job) => this.request.form.noteSeed(job.input.seed),
      refused: (error) => this.request.refused(error),
    });
    this.request = new RequestPanel(client, this.parameters, {
      run: (body, count) => this.output.run(body, count),
      needKey,
    });
    this.gallery = new Gallery(client, this.feed, models, (job) =>
      openDetails(client, job, this.actions),
    );
    const both = el("div", { class: "workspace" }, this.request.node, this.output.node);
    this.nodes = this.hasKey ? [both, this.gallery.node] : [both];
  }

  /** Start, once the nodes are on the page. */
  begin() {
    const { signal } = this.#stop;
    this.request.focus({ select: this.#takeFirst() });
    if (!this.hasKey) return;
    connection.addEventListener("back", () => this.gallery.load(), { signal });
    this.feed.start();
    this.gallery.load();
  }

  /** The content of the form, for the next workspace. */
  get draft() {
    const { body, variations } = this.parameters;
    return { body, variations };
  }

  /** Stop all requests. */
  close() {
    this.#stop.abort();
    this.feed.stop();
    this.output.clear();
    closeDialogs();
  }

  /** Put parameters into the form. */
  use(body) {
    closeDialogs();
    this.parameters.take(body);
    this.request.focus();
    toast("Parameters copied to the form");
  }

  /** Create jobs. */
  run(body) {
    closeDialogs();
    this.output.run(body, this.parameters.variations);
  }

  /** Show an existing job. */
  show(job) {
    closeDialogs();
    this.output.show(job);
  }

  /** Remove a deleted job. */
  gone(job) {
    closeDialogs();
    this.gallery.forget(job.id);
    if (this.output.isAbout(job)) this.output.clear();
  }

  /** Put the parameters of the URL into the form; return whether there are any. */
  takeLink() {
    const linked = readLink(location.hash, this.models);
    if (linked) this.#take(linked);
    return linked !== null;
  }

  /** Fill a new form; return whether with the example. */
  #takeFirst() {
    if (this.#previous) this.#take(this.#previous);
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
