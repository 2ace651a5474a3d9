// A response: status, headers, and the body by its type.
import { codeBlock } from "../shared/code.js";
import { el, fill } from "../shared/dom.js";
import { bytes } from "../shared/format.js";

/** Longer texts are cut off. */
const SHOWN_MOST = 200_000;

/** Show a response in `place`, streams as they arrive; pass JSON to `remember`. */
export async function showAnswer(answer, place, remember) {
  const kind = answer.headers.get("content-type") ?? "";
  const body = el("div", {});
  fill(place, headOf(answer), body);
  if (kind.startsWith("image/")) return showImage(await answer.blob(), body);
  if (kind.includes("zip")) return showFile(await answer.blob(), body);
  if (kind.includes("event-stream")) return showStream(answer, body);
  const text = await answer.text();
  if (!text) return fill(body, el("p", { class: "soft" }, "The response has no body."));
  const block = codeBlock("the answer", shown(text, kind, remember), { wrap: true });
  return fill(body, block.node);
}

function headOf(answer) {
  const kind = answer.ok ? "good" : "bad";
  const headers = [...answer.headers].map(([name, value]) => `${name}: ${value}`).join("\n");
  return [
    el(
      "p",
      { class: "row" },
      el("span", { class: `badge ${kind}` }, `${answer.status} ${answer.statusText}`.trim()),
    ),
    el(
      "details",
      {},
      el("summary", {}, "Headers"),
      codeBlock("the headers", headers, { wrap: true }).node,
    ),
  ];
}

function shown(text, kind, remember) {
  if (!kind.includes("json") || kind.includes("ndjson")) return text.slice(0, SHOWN_MOST);
  const data = JSON.parse(text);
  remember(data);
  return JSON.stringify(data, null, 2).slice(0, SHOWN_MOST);
}

function showImage(blob, body) {
  const image = el("img", {
    src: URL.createObjectURL(blob),
    alt: "The image in the response",
    class: "answered",
    onload: () => URL.revokeObjectURL(image.src),
  });
  fill(body, image, el("p", { class: "soft small-text" }, `${bytes(blob.size)}, ${blob.type}`));
}

function showFile(blob, body) {
  const link = el(
    "a",
    { class: "button small", href: URL.createObjectURL(blob), download: "answer.zip" },
    `Save the file (${bytes(blob.size)})`,
  );
  fill(body, link);
}

async function showStream(answer, body) {
  const block = codeBlock("the events", "", { wrap: true });
  fill(body, block.node);
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    block.set(block.text + value);
  }
}
