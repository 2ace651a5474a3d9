// A control for each type of parameter, with `node`, `read()`, which returns the value or
// undefined for "not sent", and `write(value)`.
import { faultLine, field, markField, notANumber } from "../shared/controls.js";
import { el, freshId } from "../shared/dom.js";
import { number } from "../shared/format.js";
import { groupOf } from "./group.js";
import { ratioField } from "./ratio.js";
import { SeedField } from "./seed.js";

const MAKERS = {
  ratio: ratioField,
  choice: choiceField,
  switch: switchField,
  slider: sliderField,
  number: numberField,
  seed: (shape, changed) => new SeedField(shape, changed),
  text: textField,
  long: textField,
  json: jsonField,
};

/** Make the control of a parameter; `changed` is called when the reader changes it. */
export function fieldOf(shape, changed) {
  const made = MAKERS[shape.kind](shape, changed);
  const fault = faultLine();
  made.node.append(fault);
  const showFault = (words) => markGroup(made.node, fault, words);
  const faultNow = () => made.tooLong?.() || notANumber(made.node);
  return Object.assign(made, { shape, showFault, faultNow });
}

/** Show the fault of a group of controls. */
export function markGroup(node, fault, words) {
  for (const input of node.querySelectorAll("input, textarea, select"))
    markField(input, fault, words);
}

function textField(shape, oninput) {
  const isLong = shape.kind === "long";
  const input = el(isLong ? "textarea" : "input", {
    dir: "auto",
    rows: isLong ? 4 : null,
    required: shape.isRequired,
    spellcheck: "true",
    oninput: () => {
      counter?.count();
      oninput();
    },
  });
  const counter = shape.longest === null ? null : counterOf(input, shape.longest);
  return {
    node: field(shape.title, input, { about: shape.about, beside: counter?.node }),
    tooLong: () => counter?.fault ?? "",
    read: () => (input.value === "" && !shape.isRequired ? undefined : input.value),
    write: (value) => {
      input.value = value ?? "";
      counter?.count();
    },
  };
}

/** A character counter next to the label. A text that is too long is not cut. */
function counterOf(input, most) {
  const node = el("span", { class: "counter small-text" });
  const counter = { node, fault: "", count };

  function count() {
    // count code points, as the API does, not UTF-16 units
    const length = Array.from(input.value).length;
    const over = length - most;
    counter.fault =
      over > 0 ? `${number(over)} characters too many: the limit is ${number(most)}.` : "";
    node.textContent = `${number(length)} / ${number(most)}`;
    node.classList.toggle("over", over > 0);
  }

  count();
  return counter;
}

function choiceField(shape, onchange) {
  const name = freshId("choice");
  const inputs = shape.choices.map((value) =>
    el("input", { type: "radio", name, value: String(value), onchange }),
  );
  const options = inputs.map((input) =>
    el("label", { class: "choice" }, input, el("span", {}, input.value)),
  );
  return {
    node: groupOf(shape, el("div", { class: "choices" }, options)),
    read: () => shape.choices[inputs.findIndex((input) => input.checked)],
    write: (value) => {
      for (const [at, input] of inputs.entries()) input.checked = shape.choices[at] === value;
    },
  };
}

function switchField(shape, onchange) {
  const id = freshId("field");
  const input = el("input", { type: "checkbox", role: "switch", onchange });
  input.setAttribute("aria-describedby", id);
  const words = el("span", { class: "label" }, shape.title);
  const about = shape.about && el("p", { class: "about", id }, shape.about);
  return {
    node: el("div", { class: "field" }, el("label", { class: "switch" }, input, words), about),
    read: () => input.checked,
    write: (value) => {
      input.checked = Boolean(value);
    },
  };
}

function sliderField(shape, changed) {
  const range = { min: shape.least, max: shape.most, step: 1 };
  const label = `${shape.title}, as a number`;
  const slider = el("input", { type: "range", ...range, oninput: () => follow(slider, number) });
  const number = el("input", { type: "number", class: "short", "aria-label": label, ...range });
  number.addEventListener("input", () => follow(number, slider));

  function follow(from, to) {
    to.value = from.value;
    changed();
  }

  return {
    node: field(shape.title, slider, { about: shape.about, beside: number }),
    read: () => (number.value === "" ? undefined : number.valueAsNumber),
    write: (value) => {
      number.value = value ?? "";
      slider.value = value ?? shape.least;
    },
  };
}

function numberField(shape, oninput) {
  const step = shape.isWhole ? 1 : "any";
  const input = el("input", { type: "number", min: shape.least, max: shape.most, step, oninput });
  return {
    node: field(shape.title, input, { about: shape.about }),
    read: () => (input.value === "" ? undefined : input.valueAsNumber),
    write: (value) => {
      input.value = value ?? "";
    },
  };
}

/** A JSON text field for schemas without a control of their own; invalid JSON is sent as text. */
function jsonField(shape, oninput) {
  const input = el("textarea", {
    rows: 2,
    class: "mono",
    dir: "auto",
    spellcheck: "false",
    oninput,
  });
  const read = () => {
    try {
      return input.value.trim() === "" ? undefined : JSON.parse(input.value);
    } catch {
      return input.value;
    }
  };
  return {
    node: field(shape.title, input, { about: shape.about }),
    read,
    write: (value) => {
      input.value = value === undefined || value === null ? "" : JSON.stringify(value, null, 2);
    },
  };
}
