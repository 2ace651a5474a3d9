// One job of the gallery, in a dialog.
import { openDialog } from "../shared/dialog.js";
import { el } from "../shared/dom.js";
import { tabs } from "../shared/tabs.js";
import { JobView } from "./job_view.js";

/** Opens a job; gives the dialog. */
export function openDetails(client, job, deeds) {
  const view = new JobView(client, job, deeds);
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
