// The form for a tenant's limits, for new and existing tenants.
import { field } from "../shared/controls.js";
import { el, fill } from "../shared/dom.js";
import { LimitFields, numberField } from "./limit_fields.js";

const NUMBERS = [
  ["weight", "Weight", "Share of the slots, relative to other tenants"],
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
/** The limits of a new tenant. */
const NEW = { weight: 1, may_disable_safety: false, archive_prompts: true };
const LABELS = Object.fromEntries(NUMBERS.map(([key, label]) => [key, label]));

/** Replace the names of limits in a message of the API by the labels of their fields. */
export function withLabels(text) {
  return text.replaceAll(/`(\w+)`/g, (_, name) => LABELS[name] ?? name);
}

/**
 * A form for limits: `{node, show(tenant)}`. `save(changes)` sends the edited limits, `saved(answer)`
 * continues; `tenant` has the stored limits, and `show` replaces them.
 */
export function limitsForm({ tenant = NEW, named = false, may = true, verb, save, saved }) {
  const notices = el("div", {});
  const name = named && nameField();
  const numbers = NUMBERS.map(([key, label, about]) =>
    numberField(key, label, { about, step: FRACTIONS.has(key) ? "any" : 1, may }),
  );
  const action = actionField(may);
  const models = modelsField(may);
  const safety = flag("may_disable_safety", may);
  const archives = flag("archive_prompts", may);
  const all = [...(name ? [name] : []), ...numbers, action, models, safety, archives];
  const fields = new LimitFields(all, tenant);
  const button = may && el("button", { class: "button main", type: "submit" }, verb);
  const node = el(
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
    el("label", { class: "switch" }, safety.input, "May disable the safety checker"),
    el(
      "div",
      { class: "stack tight" },
      el("label", { class: "switch" }, archives.input, "Archive prompts in the history"),
      el(
        "p",
        { class: "soft small-text" },
        "If off, a job in the history has no prompt and cannot be retried or reproduced.",
      ),
    ),
    notices,
    button && el("div", { class: "row" }, button),
  );

  function submit(event) {
    return fields.submit(event, notices, async (changes) => saved(await save(changes)));
  }

  return { node, show: (limits) => fields.show(limits) };
}

function nameField() {
  const input = el("input", {
    type: "text",
    autocomplete: "off",
    spellcheck: "false",
    required: true,
  });
  return entry("name", "Name", "1 to 64 of A-Z a-z 0-9 . _ -", input, {
    read: () => input.value.trim(),
  });
}

function actionField(may) {
  const options = ACTIONS.map(([value, words]) => el("option", { value }, words));
  const input = el("select", { disabled: !may }, options);
  const about = "Held jobs start on the next day or month (UTC)";
  return entry("budget_action", "When the credits are spent", about, input, {
    read: () => input.value || null,
  });
}

function modelsField(may) {
  const input = el("input", { type: "text", disabled: !may });
  return entry("models", "Allowed models", "Ids, separated by spaces; empty: all", input, {
    read: () => {
      const ids = input.value.split(/[\s,]+/).filter(Boolean);
      return ids.length ? ids : null;
    },
    write: (ids) => {
      input.value = (ids ?? []).join(" ");
    },
  });
}

function flag(name, may) {
  const input = el("input", { type: "checkbox", role: "switch", name, disabled: !may });
  return {
    name,
    input,
    read: () => input.checked,
    write: (value) => {
      input.checked = value;
    },
  };
}

function entry(name, label, about, input, { read, write = null }) {
  input.name = name;
  const writeText = (value) => {
    input.value = value ?? "";
  };
  return { name, input, node: field(label, input, { about }), read, write: write ?? writeText };
}
