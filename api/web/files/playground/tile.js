// A job as a thumbnail that opens it.
import { el } from "../shared/dom.js";
import { ago } from "../shared/format.js";
import { hasImage } from "../shared/image.js";
import { badgeOf, imageOf, placeholderOf } from "./image_view.js";

/** A button; `chosen` is true or false if it is one of several to choose from. */
export function tileOf(job, { open, chosen = null, captioned = false }) {
  const prompt = String(job.input.prompt ?? "");
  return el(
    "button",
    {
      type: "button",
      class: "tile",
      data: { job: job.id, version: job.version },
      "aria-pressed": chosen,
      onclick: open,
      title: prompt,
    },
    el("span", { class: "thumb" }, hasImage(job) ? small(job) : placeholderOf(job)),
    captioned
      ? captionOf(job, prompt)
      : el(
          "span",
          { class: "unseen" },
          [seedText(job.input.seed), job.status].filter(Boolean).join(", "),
        ),
  );
}

function small(job) {
  const image = imageOf(job, { lazy: true, preview: true });
  image.alt = ""; // the caption says it
  return image;
}

function captionOf(job, prompt) {
  return el(
    "span",
    { class: "caption" },
    el("span", { class: "prompt", dir: "auto" }, prompt),
    el(
      "span",
      { class: "row apart" },
      hasImage(job) ? null : badgeOf(job),
      el("time", { class: "soft small-text", datetime: job.created_at }, ago(job.created_at)),
    ),
  );
}

function seedText(seed) {
  return seed === undefined ? "" : `seed ${seed}`;
}
