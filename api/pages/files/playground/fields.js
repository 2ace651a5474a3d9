// One control for each kind of parameter. Each gives {node, read, write}: read gives the value, or
// undefined for "not sent"; write shows one.
import { el, freshId } from "../parts/dom.js";
import { groupOf, labelled } from "./label.js";
import { ratioField } from "./ratio.js";
import { seedField } from "./seed.js";

const MAKERS = {
  ratio: ratioField,
  choice: choiceField,
  switch: switchField,
  slider: sliderField,
  number: numberField,
  seed: seedField,
  text: textField,
  long: textField,
  json: jsonField,
};

/** Makes the control of a parameter; `changed` is called when the reader changed it. */
export function fieldOf(shape, changed) {
  const field = MAKERS[shape.kind](shape, changed);
  const fault = el("p", {
    class: "fault",
    "aria-live": "polite",
    hidden: true,
    id: freshId("fault"),
  });
  field.node.append(fault);
  field.node.dataset.parameter = shape.name;
  return { ...field, shape, showFault: (words) => showFault(field.node, fault, words) };
}

function showFault(node, fault, words) {
  fault.hidden = !words;
  fault.textContent = words;
  for (const input of node.querySelectorAll("input, textarea, select")) {
    if (!words) input.removeAttribute("aria-invalid");
    else {
      input.setAttribute("aria-invalid", "true");
      input.setAttribute("aria-errormessage", fault.id);
    }
  }
}

function textField(shape, changed) {
  const id = freshId("field");
  const name = shape.kind === "long" ? "textarea" : "input";
  const most = { maxlength: shape.longest, rows: shape.kind === "long" ? 4 : null };
  const input = el(name, {
    id,
    "aria-describedby": `${id}-about`,
    ...most,
    required: shape.isRequired,
    spellcheck: "true",
    oninput: changed,
  });
  return {
    node: labelled(shape, id, input),
    read: () => (input.value === "" && !shape.isRequired ? undefined : input.value),
    write: (value) => {
      input.value = value ?? "";
    },
  };
}

function choiceField(shape, changed) {
  const name = freshId("choice");
  const inputs = shape.choices.map((value) =>
    el("input", { type: "radio", name, value: String(value), onchange: changed }),
  );
  const options = inputs.map((input, index) =>
    el("label", { class: "choice" }, input, el("span", {}, String(shape.choices[index]))),
  );
  return {
    node: groupOf(shape, el("div", { class: "choices" }, options)),
    read: () => shape.choices[inputs.findIndex((input) => input.checked)],
    write: (value) =>
      inputs.forEach((input, index) => {
        input.checked = shape.choices[index] === value;
      }),
  };
}

function switchField(shape, changed) {
  const id = freshId("field");
  const input = el("input", {
    type: "checkbox",
    role: "switch",
    id,
    onchange: changed,
    "aria-describedby": `${id}-about`,
  });
  const words = el("span", { class: "grow" }, el("span", { class: "label" }, shape.title));
  const about = shape.about && el("p", { class: "about", id: `${id}-about` }, shape.about);
  return {
    node: el("div", { class: "field" }, el("label", { class: "switch" }, input, words), about),
    read: () => input.checked,
    write: (value) => {
      input.checked = Boolean(value);
    },
  };
}

function sliderField(shape, changed) {
  const id = freshId("field");
  const range = { min: shape.least, max: shape.most, step: 1 };
  const slider = el("input", {
    type: "range",
    id,
    "aria-describedby": `${id}-about`,
    ...range,
    oninput: () => {
      number.value = slider.value;
      changed();
    },
  });
  const number = el("input", {
    type: "number",
    class: "short",
    ...range,
    "aria-label": `${shape.title}, as a number`,
    oninput: () => {
      slider.value = number.value;
      changed();
    },
  });
  return {
    node: labelled(shape, id, slider, number),
    read: () => (number.value === "" ? undefined : number.valueAsNumber),
    write: (value) => {
      number.value = value ?? "";
      slider.value = value ?? shape.least;
    },
  };
}

function numberField(shape, changed) {
  const id = freshId("field");
  const input = el("input", {
    type: "number",
    id,
    "aria-describedby": `${id}-about`,
    min: shape.least,
    max: shape.most,
    step: shape.isWhole ? 1 : "any",
    oninput: changed,
  });
  return {
    node: labelled(shape, id, input),
    read: () => (input.value === "" ? undefined : input.valueAsNumber),
    write: (value) => {
      input.value = value ?? "";
    },
  };
}

/** What no other control fits is written as JSON; what is no JSON is sent as the text it is. */
function jsonField(shape, changed) {
  const id = freshId("field");
  const input = el("textarea", {
    id,
    "aria-describedby": `${id}-about`,
    rows: 2,
    class: "mono",
    spellcheck: "false",
    oninput: changed,
  });
  return {
    node: labelled(shape, id, input),
    read: () => {
      if (input.value.trim() === "") return undefined;
      try {
        return JSON.parse(input.value);
      } catch {
        return input.value;
      }
    },
    write: (value) => {
      input.value = value === undefined || value === null ? "" : JSON.stringify(value, null, 2);
    },
  };
}
