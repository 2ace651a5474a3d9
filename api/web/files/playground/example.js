// The example a visitor sees first: a request, and the image the sandbox generated from it.
import { el } from "../shared/dom.js";

const PROMPT = "A pale sun above layers of dusty hills, red evening sky";
const IMAGE = { src: new URL("example.webp", import.meta.url), width: 512, height: 512 };

/** The example request; everything but the prompt has the model's defaults. */
export const EXAMPLE = { input: { prompt: PROMPT } };

/** The image with its prompt. */
export function exampleFigure() {
  const words = `An example: “${PROMPT}”`;
  return el(
    "figure",
    { class: "example" },
    el("img", { ...IMAGE, alt: "", decoding: "async" }),
    el("figcaption", { class: "soft small-text" }, words),
  );
}
