// What can be done with a job, and what is said of it.
import { copy } from "../parts/code.js";
import { confirmed } from "../parts/dialog.js";
import { toast } from "../parts/say.js";
import { openCode } from "./code_panel.js";
import { linkOf } from "./parameters.js";

/**
 * Gives each deed by its name, as `deed(job, view)`. `page` is asked to `use` parameters, to `run` a body, to `show`
 * a job, and told what is `gone`.
 */
export function deedsOf(client, page) {
  const asked = async (job, way, done) => {
    try {
      const now = await client.post(`/v1/jobs/${job.id}/${way}`);
      toast(done);
      return now;
    } catch (error) {
      toast(error.message);
      return null;
    }
  };

  return {
    use: (job) => page.use(bodyOf(job)),
    code: (job) => openCode(job),
    link: (job) => copy(`${location.origin}/${linkOf(job)}`, "Link"),
    vary: (job) => page.run(bodyOf(job, { withSeed: false })),
    cancel: async (job, view) => {
      await asked(job, "cancel", "Canceled");
      await view.refresh();
    },
    retry: async (job) => {
      const now = await asked(job, "retry", "It is tried again");
      if (now) page.show(now);
    },
    reproduce: async (job) => {
      const now = await asked(job, "reproduce", "Asked for again, with the same seed");
      if (now) page.show(now);
    },
    remove: async (job) => {
      if (
        !(await confirmed(
          "Delete this job?",
          "Its record and its picture are forgotten at once and cannot be had back.",
          "Delete it",
        ))
      )
        return;
      try {
        await client.ask("DELETE", `/v1/jobs/${job.id}`);
        page.gone(job);
        toast("Deleted");
      } catch (error) {
        toast(error.message);
      }
    },
  };
}

/** The request that makes a picture like this one. */
function bodyOf({ model, input, tags }, { withSeed = true } = {}) {
  const { seed, ...others } = input;
  return { model, input: withSeed ? { ...others, seed } : others, tags };
}
