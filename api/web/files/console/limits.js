// The form for a tenant's limits, for new and existing tenants.
import { field } from "../shared/controls.js";
import { el, fill } from "../shared/dom.js";
import { trouble } from "../shared/notices.js";
import { areNumbers, numberField } from "./limit_fields.js";

const NUMBERS = [
  ["weight", "Weight", "Share of the slots, relative to other tenants", 1],
  ["max_running", "Concurrent jobs", "Empty: limited by the number of slots only"],
  ["max_queued", "Queued jobs", "Empty: no limit for this tenant"],
  ["requests_per_minute", "Requests per minute", "Empty: no limit"],
  ["daily_credits", "Credits per day", "Estimated, per UTC day. Empty: no budget"],
  ["monthly_credits", "Credits per month", "Estimated, per UTC month. Empty: no budget"],
  [
    "image_retention_seconds",
    "Seconds to keep images",
    "After the job ends. 0: as long as the job. Empty: the setting of the service",
  ],
  [
    "record_retention_seconds",
    "Seconds to keep jobs",
    "After they end. 0: forever. Empty: the setting of the service",
  ],
];
const FRACTIONS = new Set(["weight", "daily_credits", "monthly_credits"]);
const ACTIONS = [
  ["", "Default: refuse"],
  ["hold", "Hold its jobs"],
  ["refuse", "Refuse new jobs"],
];
const LABELS = Object.fromEntries(NUMBERS.map(([key, label]) => [key, label]));

/** Replace the names of limits in a message of the API by the labels of their fields. */
export function withLabels(text) {
  return text.replaceAll(/`(\w+)`/g, (_, name) => LABELS[name] ?? name);
}

/** `save(body)` sends the form, `saved(answer)` continues. `tenant` gives the initial values. */
export function limitsForm({ tenant = null, named = false, may = true, verb, save, saved }) {
  const notices = el("div", {});
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
  const numbers = NUMBERS.map(([key, label, about, least]) =>
    numberField(key, label, {
      value: tenant ? tenant[key] : least,
      about,
      step: FRACTIONS.has(key) ? "any" : 1,
      may,
    }),
  );
  const action = entry(
    "budget_action",
    "When the credits are spent",
    "Held jobs start on the next day or month (UTC)",
    el(
      "select",
      { disabled: !may },
      ACTIONS.map(([value, words]) =>
        el("option", { value, selected: (tenant?.budget_action ?? "") === value }, words),
      ),
    ),
  );
  const models = entry(
    "models",
    "Allowed models",
    "Ids, separated by spaces; empty: all",
    el("input", { type: "text", value: (tenant?.models ?? []).join(" "), disabled: !may }),
  );
  const safety = flag(tenant?.may_disable_safety ?? false, may);
  const archives = flag(tenant?.archive_prompts ?? true, may);
  const button = may && el("button", { class: "button main", type: "submit" }, verb);
  const form = el(
    "form",
    { class: "stack", novalidate: true, onsubmit: submit, oninput: () => fill(notices) },
    name?.node,
    el(
      "div",
      { class: "filters wide" },
      numbers.map(({ node }) => node),
      action.node,
      models.node,
    ),
    el("label", { class: "switch" }, safety, "May disable the safety checker"),
    el(
      "div",
      { class: "stack tight" },
      el("label", { class: "switch" }, archives, "Archive prompts in the history"),
      el(
        "p",
        { class: "soft small-text" },
        "If off, a job in the history has no prompt and cannot be retried or reproduced.",
      ),
    ),
    notices,
    button && el("div", { class: "row" }, button),
  );

  async function submit(event) {
    event.preventDefault();
    if (!areNumbers(numbers)) return;
    button.disabled = true;
    try {
      const answer = await save(body());
      fill(notices);
      saved(answer);
    } catch (error) {
      fill(notices, trouble(error));
    } finally {
      button.disabled = false;
    }
  }

  function body() {
    const values = Object.fromEntries(numbers.map(({ name, read }) => [name, read()]));
    // for a new tenant, leave out what the service decides
    const given = tenant
      ? values
      : Object.fromEntries(Object.entries(values).filter(([, value]) => value !== null));
    const named = models.input.value.split(/[\s,]+/).filter(Boolean);
    const budget = action.input.value || (tenant ? null : undefined);
    return {
      ...(name && { name: name.input.value.trim() }),
      ...given,
      ...(budget !== undefined && { budget_action: budget }),
      ...((tenant || named.length > 0) && { models: named.length > 0 ? named : null }),
      may_disable_safety: safety.checked,
      archive_prompts: archives.checked,
    };
  }

  return form;
}

function flag(checked, may) {
  return el("input", { type: "checkbox", role: "switch", checked, disabled: !may });
}

function entry(name, label, about, input) {
  input.name = name;
  return { input, node: field(label, input, { about }) };
}
