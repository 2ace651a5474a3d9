// The image of a job, or its placeholder.
import { imageAddress } from "../shared/address.js";
import { el } from "../shared/dom.js";
import { icon } from "../shared/icons.js";
import { deletedText } from "../shared/image.js";
import { statusWords } from "./job_text.js";

/** The alternative text of the image. */
export function altOf(job) {
  return String(job.input.prompt ?? "An image");
}

/** An image, or its preview, that reserves its space before it loads. */
export function imageOf(job, { lazy = false, preview = false } = {}) {
  const { width, height } = job.image;
  return el("img", {
    src: imageAddress(job, { preview }),
    alt: altOf(job),
    width,
    height,
    loading: lazy ? "lazy" : "eager",
    decoding: "async",
  });
}

/** The placeholder: the shape of the image, and the job's state or when the image was deleted. */
export function placeholderOf(job) {
  const [wide, high] = String(job.input.aspect_ratio ?? "1:1")
    .split(":")
    .map(Number);
  const [words, kind] = statusWords(job.status);
  const isMoving = kind === "busy" || kind === "wait";
  return el(
    "div",
    {
      class: `placeholder ${isMoving ? "moving" : ""}`,
      style: { "aspect-ratio": `${wide || 1} / ${high || 1}` },
    },
    isMoving ? el("span", { class: "spinner" }) : icon(kind === "bad" ? "warning" : "image"),
    el("span", { class: "words" }, job.image?.deleted_at ? deletedText(job.image) : words),
  );
}

/** The state of a job as a badge. */
export function badgeOf({ status }) {
  const [words, kind] = statusWords(status);
  return el("span", { class: `badge ${kind}` }, words);
}
