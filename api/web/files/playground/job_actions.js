// What can be done with a job, and what is said of it.
import { SERVICE } from "../shared/address.js";
import { copy } from "../shared/code.js";
import { confirmed } from "../shared/dialog.js";
import { toast } from "../shared/notices.js";
import { openCode } from "./code_panel.js";
import { linkOf } from "./parameters.js";

/** Each deed takes a job, and the view of it. */
export class JobActions {
  /** `bench` is asked to `use` parameters, `run` a body or `show` a job, and told what is `gone`. */
  constructor(client, bench) {
    this.client = client;
    this.bench = bench;
  }

  use(job) {
    this.bench.use(bodyOf(job));
  }

  vary(job) {
    this.bench.run(bodyOf(job, { withSeed: false }));
  }

  code(job) {
    openCode(job);
  }

  link(job) {
    return copy(`${SERVICE}/${linkOf(job)}`, "Link");
  }

  async cancel(job, view) {
    await this.#ask(job, "cancel", "Canceled");
    await view.refresh();
  }

  async retry(job) {
    const now = await this.#ask(job, "retry", "Job queued again");
    if (now) this.bench.show(now);
  }

  async reproduce(job) {
    const now = await this.#ask(job, "reproduce", "New job with the same seed");
    if (now) this.bench.show(now);
  }

  async remove(job) {
    const words = "Its record and its image are deleted at once. This cannot be undone.";
    if (!(await confirmed("Delete this job?", words, "Delete"))) return;
    try {
      await this.client.ask("DELETE", `/v1/jobs/${job.id}`);
      this.bench.gone(job);
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

/** The request that makes an image like this one. */
function bodyOf({ model, input, tags }, { withSeed = true } = {}) {
  const { seed, ...others } = input;
  return { model, input: withSeed ? { ...others, seed } : others, tags };
}
