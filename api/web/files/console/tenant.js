// One tenant: its limits, its keys, and links to its jobs.
import { field } from "../shared/controls.js";
import { openDialog } from "../shared/dialog.js";
import { el, fill } from "../shared/dom.js";
import { number } from "../shared/format.js";
import { toast, trouble } from "../shared/notices.js";
import { actionButton, ask } from "./actions.js";
import { budgetTable, budgetWords } from "./budgets.js";
import { SCOPES } from "./enums.js";
import { card, cardTable, limit, noLimit, when, words } from "./formatters.js";
import { LimitFields, numberField } from "./limit_fields.js";
import { limitsForm, withLabels } from "./limits.js";
import { go, link } from "./router.js";
import { showSecret } from "./secret.js";
import { deleteTenant } from "./tenant_deletion.js";

const STATES = { living: ["good", "active"], revoked: ["", "revoked"], expired: ["", "expired"] };
const KEY_COLUMNS = [
  "Key",
  "State",
  "Scopes",
  "Per minute",
  "Credits this month",
  "Last used",
  "Ends",
  "Change",
];
const KEY_LIMITS = [
  ["monthly_credits", "Credits per month (UTC)", "any"],
  ["requests_per_minute", "Requests per minute", 1],
];
const SHOWN_ONCE = "It is shown only now.";

export function tenant({ client, may, live, place }) {
  const name = place.rest[0];
  const path = `/ops/v1/tenants/${encodeURIComponent(name)}`;
  const counts = el("p", { class: "row" });
  const warnings = el("div", { class: "stack tight" });
  const budgets = el("div", {});
  const limits = el("div", {});
  const keys = el("div", {});
  const make = actionButton(may, "New key…", create, { drawing: "key", kind: "main" });
  const remove = actionButton(may, "Delete tenant…", removeAll, { drawing: "bin", kind: "bad" });
  const node = el(
    "div",
    { class: "stack" },
    el(
      "nav",
      { class: "small-text", "aria-label": "Back" },
      el("a", { href: link("tenants") }, "Tenants"),
    ),
    el("div", { class: "row apart" }, el("h1", { class: "long" }, name), remove),
    counts,
    warnings,
    budgets,
    card("Keys", make, keys),
    card("Limits", null, limits),
  );
  let form = null;

  async function load(signal) {
    const [found, held] = await Promise.all([
      client.get(path, {}, { signal }),
      client.get(`${path}/keys`, {}, { signal }),
    ]);
    fill(
      counts,
      ["queued", "running"].map((status) =>
        el(
          "a",
          { class: "tag", href: link("jobs", { tenant: name, status }) },
          `${number(found[status])} ${status}`,
        ),
      ),
      el("a", { href: link("jobs", { tenant: name }) }, "All its jobs"),
      el("a", { href: link("deliveries", { tenant: name }) }, "Its deliveries"),
      el("a", { href: link("endpoints", { tenant: name }) }, "Its endpoints"),
    );
    fill(
      warnings,
      found.warnings.map((words) => el("p", { class: "notice" }, withLabels(words))),
    );
    fill(budgets, found.budgets.length > 0 && card("Budgets", null, budgetTable(found.budgets)));
    fill(keys, keyTable(held.data));
    if (form) return form.show(found);
    form = limitsForm({
      tenant: found,
      may,
      verb: "Save",
      save: (body) => client.ask("PATCH", path, { body }),
      saved,
    });
    fill(limits, form.node);
  }

  function saved() {
    toast("Saved. It applies from now on");
    live.now();
  }

  async function removeAll() {
    if (await deleteTenant(client, name)) go("tenants");
  }

  function keyTable(all) {
    if (!all.length)
      return el("p", { class: "soft" }, "It has no keys: no client can send requests for it.");
    return cardTable("Keys", KEY_COLUMNS, all.map(keyRow));
  }

  function keyRow(key) {
    const [kind, state] = STATES[key.state] ?? ["", key.state];
    return [
      [el("span", { class: "mono long" }, key.id), key.label && el("div", {}, words(key.label))],
      el("span", { class: `badge ${kind}` }, state),
      words(key.scopes.join(" ")),
      limit(key.requests_per_minute),
      key.budgets.length ? key.budgets.map(budgetWords) : noLimit(),
      when(key.last_used_at, "never"),
      when(key.revoked_at ?? key.expires_at, "never"),
      key.state === "living" && keyButtons(key),
    ];
  }

  function keyButtons(key) {
    return el(
      "div",
      { class: "row" },
      actionButton(may, "Limits…", () => changeLimits(key)),
      !key.replaced_by && actionButton(may, "Rotate", () => rotate(key)),
      actionButton(may, "Revoke", () => revoke(key), { kind: "bad" }),
    );
  }

  function create() {
    const notices = el("div", {});
    const scopes = Object.entries(SCOPES).map(([scope, about]) => [
      scope,
      el("input", {
        type: "checkbox",
        name: "scope",
        value: scope,
        checked: scope.startsWith("jobs"),
      }),
      about,
    ]);
    const label = el("input", { type: "text", autocomplete: "off", dir: "auto" });
    const ends = el("input", { type: "datetime-local" });
    const form = el(
      "form",
      { class: "stack", onsubmit: submit, oninput: () => fill(notices) },
      el(
        "fieldset",
        { class: "stack tight" },
        el("legend", { class: "label" }, "Scopes"),
        scopes.map(([scope, input, about]) =>
          el(
            "label",
            { class: "row" },
            input,
            el("code", {}, scope),
            el("span", { class: "soft small-text" }, about),
          ),
        ),
      ),
      el("div", { class: "filters" }, field("Label", label), field("Expires (empty: never)", ends)),
      notices,
      el(
        "div",
        { class: "row" },
        el("button", { class: "button main", type: "submit" }, "Create key"),
      ),
    );
    const dialog = openDialog(`New key for ${name}`, form);

    async function submit(event) {
      event.preventDefault();
      const body = {
        scopes: scopes.filter(([, input]) => input.checked).map(([scope]) => scope),
        label: label.value,
        ...(ends.value && { expires_at: new Date(ends.value).toISOString() }),
      };
      try {
        const made = await client.post(`${path}/keys`, body);
        dialog.close();
        await showSecret("Key created", SHOWN_ONCE, made.key, "the key");
        live.now();
      } catch (error) {
        fill(notices, trouble(error));
      }
    }
  }

  function changeLimits(key) {
    const notices = el("div", {});
    const numbers = KEY_LIMITS.map(([name, label, step]) => numberField(name, label, { step }));
    const fields = new LimitFields(numbers, key);
    const form = el(
      "form",
      { class: "stack", novalidate: true, onsubmit: submit, oninput: () => fill(notices) },
      el(
        "div",
        { class: "filters" },
        numbers.map(({ node }) => node),
      ),
      el("p", { class: "soft small-text" }, "Empty: no limit. The tenant's limits apply too."),
      notices,
      el("div", { class: "row" }, el("button", { class: "button main", type: "submit" }, "Save")),
    );
    const dialog = openDialog(`Limits of ${key.id}`, form);

    function submit(event) {
      return fields.submit(event, notices, async (body) => {
        await client.ask("PATCH", `${path}/keys/${key.id}`, { body });
        dialog.close();
        saved();
      });
    }
  }

  async function rotate(key) {
    const made = await ask(
      "Replace this key?",
      "A new key with the same scopes and limits is created. The old one stays valid for one more day.",
      "Rotate",
      () => client.post(`${path}/keys/${key.id}/rotate`),
      () => "Key rotated",
    );
    if (!made) return;
    await showSecret("The new key", SHOWN_ONCE, made.key, "the key");
    live.now();
  }

  async function revoke(key) {
    const warning = `${key.id} stops working everywhere within five seconds. This cannot be undone.`;
    if (
      await ask(
        "Revoke this key?",
        warning,
        "Revoke",
        () => client.ask("DELETE", `${path}/keys/${key.id}`),
        () => "Key revoked",
        { kind: "bad" },
      )
    )
      live.now();
  }

  return { heading: name, node, load, seconds: 5 };
}
