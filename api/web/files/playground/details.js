// A dialog with one job of the gallery.
import { openDialog } from "../shared/dialog.js";
import { el } from "../shared/dom.js";
import { tabs } from "../shared/tabs.js";
import { JobView } from "./job_view.js";

/** Open a job; return the dialog. */
export function openDetails(client, job, actions) {
  const view = new JobView(client, job, actions);
  const { figure, state } = view.parts;
  const prompt = el(
    "p",
    { class: "prompt-full", dir: "auto", tabindex: 0 },
    String(job.input.prompt ?? ""),
  );
  const whole = el(
    "div",
    { class: "details" },
    figure,
    el("div", { class: "stack" }, prompt, state, view.facts),
  );
  const { bar, panels } = tabs("The job", [
    { name: "job", label: "Job", panel: whole },
    { name: "json", label: "JSON", panel: el("div", {}, view.json.node) },
  ]);
  return openDialog("Image", [bar, panels], {
    wide: true,
    closed: () => view.close(),
  });
}
