// Redeliver everything that failed since a time, counted first.
import { button, field } from "../shared/controls.js";
import { openDialog } from "../shared/dialog.js";
import { el, fill } from "../shared/dom.js";
import { count, moment } from "../shared/format.js";
import { loading, note, toast, trouble } from "../shared/notices.js";
import { localTime } from "./filter.js";

const PATH = "/ops/v1/deliveries/redeliver";
const AN_HOUR_MS = 3_600_000;

/** Ask for time and tenant, count, and redeliver; resolve to whether anything was sent. */
export function redeliverSince(client, tenant = "") {
  const since = el("input", {
    type: "datetime-local",
    step: 1,
    value: localTime(new Date(Date.now() - AN_HOUR_MS).toISOString()),
  });
  const whose = el("input", {
    type: "text",
    value: tenant,
    placeholder: "all tenants",
    autocomplete: "off",
  });
  const notices = el("div", {});
  const form = el(
    "form",
    { class: "stack", onsubmit: countThem, oninput: () => fill(notices) },
    el("div", { class: "filters" }, field("Failed since", since), field("Tenant", whose)),
    notices,
    el("div", { class: "row" }, el("button", { class: "button", type: "submit" }, "Count")),
  );
  const { promise, resolve } = Promise.withResolvers();
  let isSent = false;
  const dialog = openDialog("Redeliver failed deliveries", form, { closed: () => resolve(isSent) });
  return promise;

  async function countThem(event) {
    event.preventDefault();
    if (!since.value)
      return fill(
        notices,
        trouble({ title: "Time missing", message: "Enter a time in “Failed since”." }),
      );
    const filter = { since: new Date(since.value).toISOString() };
    if (whose.value.trim()) filter.tenant = whose.value.trim();
    fill(notices, loading("Counting…"));
    await withNotice(async () =>
      offer(filter, await client.post(PATH, { ...filter, dry_run: true })),
    );
  }

  function offer(filter, found) {
    if (!found.count) return fill(notices, note("good", "No delivery failed since then."));
    const many = count(found.count, "delivery", "deliveries");
    const whom = filter.tenant ?? "all tenants";
    const words = ` failed since ${moment(filter.since)}, of ${whom}.`;
    const yes = button(`Redeliver ${many}`, () => send(filter, found.count), { kind: "main" });
    const more = found.more && note("wait", "There are more: at most 10,000 are sent at once.");
    const sentence = el("p", {}, el("strong", {}, many), words);
    fill(
      notices,
      el("div", { class: "stack tight" }, sentence, more, el("div", { class: "row" }, yes)),
    );
  }

  async function send(filter, expected_count) {
    fill(notices, loading("Sending…"));
    await withNotice(async () => {
      const { moved } = await client.post(PATH, { ...filter, expected_count });
      isSent = true;
      dialog.close();
      toast(`${count(moved, "delivery", "deliveries")} sent again`);
    });
  }

  async function withNotice(act) {
    try {
      await act();
    } catch (error) {
      fill(notices, trouble(error));
    }
  }
}
