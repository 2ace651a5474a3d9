// The image of a job, or what stands in its place.
import { at } from "../shared/address.js";
import { el } from "../shared/dom.js";
import { icon } from "../shared/icons.js";
import { statusWords } from "./job_text.js";

/**
 * The address of a job's image at this very server: `image.url` may name the service as others reach
 * it. Its signature opens it, so that a browser loads and keeps it like any other.
 */
export function addressOf(job) {
  return at(`/v1/jobs/${job.id}/image${new URL(job.image.url, location.href).search}`);
}

/** What a reader who does not see the image is told. */
export function altOf(job) {
  return String(job.input.prompt ?? "An image");
}

/** An image that takes its place before it is loaded. */
export function imageOf(job, { lazy = false } = {}) {
  const { width, height } = job.image;
  return el("img", {
    src: addressOf(job),
    alt: altOf(job),
    width,
    height,
    loading: lazy ? "lazy" : "eager",
    decoding: "async",
  });
}

/** What stands where no image is: its shape, and the state in a word. */
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
    el("span", {}, words),
  );
}

/** The state of a job: a word with a colour. */
export function badgeOf({ status }) {
  const [words, kind] = statusWords(status);
  return el("span", { class: `badge ${kind}` }, words);
}
