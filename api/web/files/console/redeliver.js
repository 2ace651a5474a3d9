// Everything that failed since a time, told again: counted first.
import { button, field } from "../shared/controls.js";
import { openDialog } from "../shared/dialog.js";
import { el, fill } from "../shared/dom.js";
import { count, moment } from "../shared/format.js";
import { loading, note, toast, trouble } from "../shared/notices.js";
import { localTime } from "./filter.js";

const PATH = "/ops/v1/deliveries/redeliver";
const AN_HOUR_MS = 3_600_000;

/** Asks since when and whose, counts, and sends again; gives whether anything was sent. */
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
  const said = el("div", {});
  const form = el(
    "form",
    { class: "stack", onsubmit: countThem, oninput: () => fill(said) },
    el("div", { class: "filters" }, field("Failed since", since), field("Tenant", whose)),
    said,
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
        said,
        trouble({ title: "Time missing", message: "Enter a time in “Failed since”." }),
      );
    const asked = { since: new Date(since.value).toISOString() };
    if (whose.value.trim()) asked.tenant = whose.value.trim();
    fill(said, loading("Counting…"));
    await withNotice(async () =>
      offer(asked, await client.post(PATH, { ...asked, dry_run: true })),
    );
  }

  function offer(asked, told) {
    if (!told.count) return fill(said, note("good", "No delivery failed since then."));
    const many = count(told.count, "delivery", "deliveries");
    const whom = asked.tenant ?? "all tenants";
    const words = ` failed since ${moment(asked.since)}, of ${whom}.`;
    const yes = button(`Redeliver ${many}`, () => send(asked, told.count), { kind: "main" });
    const more = told.more && note("wait", "There are more: at most 10,000 are sent at once.");
    const sentence = el("p", {}, el("strong", {}, many), words);
    fill(
      said,
      el("div", { class: "stack tight" }, sentence, more, el("div", { class: "row" }, yes)),
    );
  }

  async function send(asked, expected_count) {
    fill(said, loading("Sending…"));
    await withNotice(async () => {
      const { moved } = await client.post(PATH, { ...asked, expected_count });
      isSent = true;
      dialog.close();
      toast(`${count(moved, "delivery", "deliveries")} sent again`);
    });
  }

  async function withNotice(act) {
    try {
      await act();
    } catch (error) {
      fill(said, trouble(error));
    }
  }
}
