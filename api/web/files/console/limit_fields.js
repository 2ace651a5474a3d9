// The number fields for the limits of tenants and keys.
import { faultLine, field, markField, notANumber } from "../shared/controls.js";
import { el } from "../shared/dom.js";

/** A field for a number; empty, its limit is null. `mark()` returns whether it holds no other text. */
export function numberField(name, label, { value, about = "", step = 1, may = true }) {
  const input = el("input", {
    type: "number",
    name,
    min: 0,
    step,
    value: value ?? "",
    disabled: !may,
    oninput: () => markField(input, fault, ""),
  });
  const node = field(label, input, { about });
  const fault = faultLine();
  node.append(fault);

  function mark() {
    const words = notANumber(node);
    markField(input, fault, words);
    return !words;
  }

  const read = () => (input.value === "" ? null : Number(input.value));
  return { name, input, node, read, mark };
}

/** Whether all number fields can be read; mark those that cannot and focus the first. */
export function areNumbers(fields) {
  const bad = fields.filter((one) => !one.mark());
  bad[0]?.input.focus();
  return !bad.length;
}
