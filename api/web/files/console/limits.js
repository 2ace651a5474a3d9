// What a tenant may, as a form: for a new one, and to change it.
import { field } from "../shared/controls.js";
import { el, fill } from "../shared/dom.js";
import { trouble } from "../shared/notices.js";

const NUMBERS = [
  ["weight", "Weight", "Share of the slots, relative to other tenants", 1],
  ["max_running", "Concurrent jobs", "Empty: limited by the number of slots only"],
  ["max_queued", "Queued jobs", "Empty: no limit for this tenant"],
  ["requests_per_minute", "Jobs created per minute", "Empty: no limit"],
  ["daily_credits", "Credits per day", "Estimated, per UTC day. Empty: no budget"],
];
const ACTIONS = [
  ["", "Default: refuse new jobs"],
  ["hold", "Hold its jobs until midnight UTC"],
  ["refuse", "Refuse new jobs"],
];

/** `save(body)` sends it, `saved(answer)` goes on. With `tenant` its values stand there. */
export function limitsForm({ tenant = null, named = false, may = true, verb, save, saved }) {
  const said = el("div", {});
  const name =
    named &&
    entry(
      "name",
      "Name",
      "1 to 64 of A-Z a-z 0-9 . _ -",
      el("input", {
        type: "text",
        autocomplete: "off",
        spellcheck: "false",
        required: true,
        disabled: !may,
      }),
    );
  const numbers = NUMBERS.map(([key, label, about, least]) => [
    key,
    entry(
      key,
      label,
      about,
      el("input", {
        type: "number",
        min: 0,
        step: key === "weight" || key === "daily_credits" ? "any" : 1,
        value: tenant ? (tenant[key] ?? "") : (least ?? ""),
        disabled: !may,
      }),
    ),
  ]);
  const action = entry(
    "budget_action",
    "When the credits are spent",
    "",
    el(
      "select",
      { disabled: !may },
      ACTIONS.map(([value, words]) =>
        el("option", { value, selected: (tenant?.budget_action ?? "") === value }, words),
      ),
    ),
  );
  const safety = el("input", {
    type: "checkbox",
    role: "switch",
    checked: tenant?.may_disable_safety ?? false,
    disabled: !may,
  });
  const button = may && el("button", { class: "button main", type: "submit" }, verb);
  const form = el(
    "form",
    { class: "stack", novalidate: true, onsubmit: submit, oninput: () => fill(said) },
    name?.node,
    el(
      "div",
      { class: "filters wide" },
      numbers.map(([, one]) => one.node),
      action.node,
    ),
    el("label", { class: "switch" }, safety, "May disable the safety checker"),
    said,
    button && el("div", { class: "row" }, button),
  );

  async function submit(event) {
    event.preventDefault();
    button.disabled = true;
    try {
      const answer = await save(body());
      fill(said);
      saved(answer);
    } catch (error) {
      fill(said, trouble(error));
    } finally {
      button.disabled = false;
    }
  }

  function body() {
    const told = Object.fromEntries(
      numbers.map(([key, { input }]) => [key, input.value === "" ? null : Number(input.value)]),
    );
    // what is left to the service is not named for a new tenant
    const given = tenant
      ? told
      : Object.fromEntries(Object.entries(told).filter(([, value]) => value !== null));
    const budget = action.input.value || (tenant ? null : undefined);
    return {
      ...(name && { name: name.input.value.trim() }),
      ...given,
      ...(budget !== undefined && { budget_action: budget }),
      may_disable_safety: safety.checked,
    };
  }

  return form;
}

function entry(name, label, about, input) {
  input.name = name;
  return { input, node: field(label, input, { about }) };
}
