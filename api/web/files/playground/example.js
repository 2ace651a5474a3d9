// What a visitor sees first: a request, and the image that the sandbox's provider made of it.
import { el } from "../shared/dom.js";

const PROMPT = "A pale sun above layers of dusty hills, red evening sky";
const PICTURE = { src: new URL("example.webp", import.meta.url), width: 512, height: 512 };

/** The request: all but the prompt as the model has it by default. */
export const EXAMPLE = { input: { prompt: PROMPT } };

/** The image, with the words it was made of. */
export function exampleFigure() {
  const words = `An example: “${PROMPT}”`;
  return el(
    "figure",
    { class: "example" },
    el("img", { ...PICTURE, alt: "", decoding: "async" }),
    el("figcaption", { class: "soft small-text" }, words),
  );
}
