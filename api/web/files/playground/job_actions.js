// The actions on a job, and their messages.
import { SERVICE } from "../shared/address.js";
import { copy } from "../shared/code.js";
import { confirmed } from "../shared/dialog.js";
import { toast } from "../shared/notices.js";
import { openCode } from "./code_panel.js";
import { linkOf } from "./parameters.js";

/** Each action takes a job and its view. */
export class JobActions {
  /** `workspace` must `use` parameters, `run` a body, `show` a job, and remove a job that is `gone`. */
  constructor(client, workspace) {
    this.client = client;
    this.workspace = workspace;
  }

  use(job) {
    this.workspace.use(bodyOf(job));
  }

  vary(job) {
    this.workspace.run(bodyOf(job, { withSeed: false }));
  }

  code(job) {
    openCode(bodyOf(job));
  }

  link(job) {
    return copy(`${SERVICE}/${linkOf(bodyOf(job))}`, "Link");
  }

  async cancel(job, view) {
    await this.#ask(job, "cancel", "Canceled");
    await view.refresh();
  }

  async retry(job) {
    const now = await this.#ask(job, "retry", "Job queued again");
    if (now) this.workspace.show(now);
  }

  async reproduce(job) {
    const now = await this.#ask(job, "reproduce", "New job with the same seed");
    if (now) this.workspace.show(now);
  }

  async remove(job) {
    const words = "Its record and its image are deleted at once. This cannot be undone.";
    if (!(await confirmed("Delete this job?", words, "Delete"))) return;
    try {
      await this.client.ask("DELETE", `/v1/jobs/${job.id}`);
      this.workspace.gone(job);
      toast("Deleted");
    } catch (error) {
      toast(error.message);
    }
  }

  async #ask(job, way, done) {
    try {
      const now = await this.client.post(`/v1/jobs/${job.id}/${way}`);
      toast(done);
      return now;
    } catch (error) {
      toast(error.message);
      return null;
    }
  }
}

/** The request that generates an image like this one: of the model that made it, whose input it is. */
function bodyOf({ model, served_model: served, input, tags }, { withSeed = true } = {}) {
  const { seed, ...others } = input;
  return { model: served ?? model, input: withSeed ? { ...others, seed } : others, tags };
}
