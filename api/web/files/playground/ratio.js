// Aspect ratios as clickable shapes.
import { el, freshId, svg } from "../shared/dom.js";
import { groupOf } from "./group.js";

/** The longer side of a shape, in pixels. */
const SIDE = 26;

export function ratioField(shape, changed) {
  const name = freshId("ratio");
  const inputs = shape.choices.map((value) =>
    el("input", { type: "radio", name, value, onchange: changed }),
  );
  const options = inputs.map((input) =>
    el(
      "label",
      { class: "choice ratio" },
      input,
      el("span", {}, drawing(input.value), input.value),
    ),
  );
  return {
    node: groupOf(shape, el("div", { class: "choices ratios" }, options)),
    read: () => inputs.find((input) => input.checked)?.value,
    write: (value) =>
      inputs.forEach((input) => {
        input.checked = input.value === value;
      }),
  };
}

function drawing(ratio) {
  const [wide, high] = ratio.split(":").map(Number);
  const scale = SIDE / Math.max(wide, high);
  const [width, height] = [wide * scale, high * scale];
  const place = { x: (30 - width) / 2, y: (30 - height) / 2, width, height, rx: 2 };
  return svg(
    "svg",
    { viewBox: "0 0 30 30", width: 30, height: 30, "aria-hidden": true },
    svg("rect", place),
  );
}
