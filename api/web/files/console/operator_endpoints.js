// The endpoints of operators, which get events of the service: create, test, pause, rotate, delete.
import { field } from "../shared/controls.js";
import { openDialog } from "../shared/dialog.js";
import { el, fill } from "../shared/dom.js";
import { trouble } from "../shared/notices.js";
import { actionButton, ask } from "./actions.js";
import { errorOf, OPERATORS, standing, statusOf, urlOf, waiting } from "./endpoint_cells.js";
import { AUDIT_EVENT, OPERATOR_EVENTS } from "./enums.js";
import { card, cardTable, when } from "./formatters.js";
import { showSecret } from "./secret.js";

const PATH = "/ops/v1/webhooks/endpoints";
const COLUMNS = ["Endpoint", "Format", "Status", "Waiting", "Last error", "Last success", "Change"];
const FORMATS = [
  ["slack", "Slack: a sentence for a channel"],
  ["standard", "Standard Webhooks: JSON, signed"],
];
const SIGNS = "It signs the webhooks of this endpoint. It is shown only now.";

/** The card with the endpoints: `{node, load(signal)}`. */
export function operatorEndpoints({ client, may, live }) {
  const rows = el("div", {});
  const make = actionButton(may, "New endpoint…", create, { kind: "main" });
  const node = card("Notifications for operators", make, rows);

  async function load(signal) {
    const { data } = await client.get(PATH, {}, { signal });
    const nothing =
      "No endpoint. Create one to report outages, missing credits and delays to Slack or to a program.";
    fill(
      rows,
      data.length
        ? cardTable("Endpoints of operators", COLUMNS, data.map(row))
        : el("p", { class: "soft" }, nothing),
    );
  }

  function row(endpoint) {
    const one = { ...endpoint, tenant: OPERATORS };
    return [
      el("div", { class: "state" }, el("code", { class: "long" }, one.url), ...standing(one)),
      one.format,
      statusOf(one),
      waiting(one),
      errorOf(one),
      when(one.last_success_at, "never"),
      el(
        "div",
        { class: "row" },
        actionButton(may, "Test", () => test(one)),
        one.enabled
          ? actionButton(may, "Pause", () => pause(one))
          : actionButton(may, "Enable", () => enable(one)),
        actionButton(may, "Rotate secret", () => rotate(one)),
        actionButton(may, "Delete", () => remove(one), { kind: "bad" }),
      ),
    ];
  }

  /** Ask, send `act()`, and load again. */
  async function change(heading, about, one, verb, act, done, options = {}) {
    const made = await ask(heading, [el("p", {}, about), urlOf(one)], verb, act, done, options);
    if (made) live.now();
    return made;
  }

  function test(one) {
    const act = () => client.post(`${PATH}/${one.id}/test`);
    const done = ({ status, attempt }) =>
      status === "delivered"
        ? "Test event delivered"
        : `Test event not delivered: ${attempt?.error?.message ?? "no worker sent it in time"}`;
    return change("Send a test event?", "Darkroom sends one event.", one, "Send", act, done);
  }

  function pause(one) {
    const about = "Its webhooks wait until you enable it; those that waited for 7 days can fail.";
    const act = () => client.ask("PATCH", `${PATH}/${one.id}`, { body: { enabled: false } });
    return change("Pause this endpoint?", about, one, "Pause", act, () => "Endpoint paused");
  }

  function enable(one) {
    const about = "Darkroom sends to it again at once, including its pending deliveries.";
    const act = () => client.post(`${PATH}/${one.id}/enable`);
    return change("Enable this endpoint?", about, one, "Enable", act, () => "Endpoint enabled");
  }

  async function rotate(one) {
    const about = "A new secret signs from now on. The current one signs for another 24 hours.";
    const act = () => client.post(`${PATH}/${one.id}/secret/rotate`);
    const done = () => "Secret rotated";
    const made = await change("Rotate the secret?", about, one, "Rotate", act, done);
    if (made) await showSecret("The new secret", SIGNS, made.secret, "the webhook secret");
  }

  function remove(one) {
    const about = "Its pending deliveries are deleted. This cannot be undone.";
    const act = () => client.ask("DELETE", `${PATH}/${one.id}`);
    const done = () => "Endpoint deleted";
    const options = { kind: "bad" };
    return change("Delete this endpoint?", about, one, "Delete", act, done, options);
  }

  function create() {
    const notices = el("div", {});
    const url = el("input", { type: "url", autocomplete: "off", spellcheck: "false" });
    const description = el("input", { type: "text", autocomplete: "off", dir: "auto" });
    const format = el(
      "select",
      {},
      FORMATS.map(([value, about]) => el("option", { value }, about)),
    );
    const events = [...OPERATOR_EVENTS, AUDIT_EVENT].map((name) =>
      el("input", { type: "checkbox", name: "event", value: name, checked: name !== AUDIT_EVENT }),
    );
    const form = el(
      "form",
      { class: "stack", novalidate: true, onsubmit: submit, oninput: () => fill(notices) },
      field("URL", url),
      el("div", { class: "filters" }, field("Format", format), field("Description", description)),
      el(
        "fieldset",
        { class: "stack tight" },
        el("legend", { class: "label" }, "Events"),
        events.map((input) => el("label", { class: "row" }, input, el("code", {}, input.value))),
      ),
      notices,
      el(
        "div",
        { class: "row" },
        el("button", { class: "button main", type: "submit" }, "Create endpoint"),
      ),
    );
    const dialog = openDialog("New endpoint for events of the service", form);

    async function submit(event) {
      event.preventDefault();
      const body = {
        url: url.value.trim(),
        description: description.value,
        format: format.value,
        events: events.filter((input) => input.checked).map((input) => input.value),
      };
      try {
        const made = await client.post(PATH, body);
        dialog.close();
        if (made.secret && made.format === "standard")
          await showSecret("Endpoint created", SIGNS, made.secret, "the webhook secret");
        live.now();
      } catch (error) {
        fill(notices, trouble(error));
      }
    }
  }

  return { node, load };
}
