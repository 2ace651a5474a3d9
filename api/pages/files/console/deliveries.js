// Every webhook that was owed, to whomever: found, read, and sent again.
import { button, field } from "../parts/controls.js";
import { openDialog } from "../parts/dialog.js";
import { el, fill } from "../parts/dom.js";
import { loading, note, toast, trouble } from "../parts/say.js";
import { count, moment } from "../parts/words.js";
import { actionButton } from "./acting.js";
import { answerWords, deliveryCard, redeliverButton } from "./delivery.js";
import { filterForm, localTime } from "./filter.js";
import { DELIVERY_STATUSES } from "./known.js";
import { listView } from "./list_view.js";
import { nothingFound } from "./listing.js";
import { deliveryBadge, jobLink, tenantLink, when } from "./shown.js";

const FIELDS = [
  { name: "status", label: "Status", kind: "choice", choices: DELIVERY_STATUSES },
  { name: "tenant", label: "Tenant", kind: "text" },
  { name: "host", label: "Host", kind: "text", about: "hooks.example.com" },
  { name: "job_id", label: "Job", kind: "text", about: "job_…" },
];
const COLUMNS = [
  "Event",
  "Status",
  "Tenant",
  "Host",
  "About",
  "Attempts",
  "Last answer",
  "Came about",
  "Again",
];
const AN_HOUR_MS = 3_600_000;

export function deliveries({ client, may, live, place }) {
  const at = { query: place.query };
  const again = () => redeliverSince(client, at.query.tenant).then((done) => done && live.now());
  const tools = actionButton(may, "Redeliver what failed…", again, {
    drawing: "send",
    title: "Counts them first",
  });

  function row(one) {
    const look = el(
      "button",
      { type: "button", class: "linklike", data: { keep: one.id }, onclick: () => show(one) },
      one.type,
    );
    return [
      look,
      deliveryBadge(one.status),
      tenantLink(one.tenant),
      one.host,
      one.job_id
        ? jobLink(one.job_id, `…${one.job_id.slice(-10)}`)
        : el("span", { class: "mono" }, `…${one.batch_id?.slice(-10) ?? ""}`),
      String(one.attempt),
      el("span", { title: one.last_attempt?.error?.message ?? "" }, answerWords(one.last_attempt)),
      when(one.created_at),
      redeliverButton({ client, may, live, delivery: one }),
    ];
  }

  async function show(one) {
    const inside = el("div", {}, loading("Asking…"));
    openDialog(`${one.type}, ${one.host}`, inside, { wide: true });
    try {
      const delivery = await client.get(`/ops/v1/deliveries/${one.id}`);
      const shown = deliveryCard({ client, may, live, delivery });
      shown.open = true;
      fill(inside, shown);
    } catch (error) {
      fill(inside, trouble(error));
    }
  }

  return listView({
    heading: "Deliveries",
    client,
    at,
    tools,
    filter: filterForm("deliveries", FIELDS),
    list: {
      caption: "Deliveries, the newest first",
      columns: COLUMNS,
      row,
      path: "deliveries",
      nothing: nothingFound("delivery", "They come about when a job asks for a webhook."),
    },
  });
}

/** Counts what failed since a time, and has it sent again; gives whether it was. */
function redeliverSince(client, tenant = "") {
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
    { class: "stack", onsubmit: counting },
    el("div", { class: "filters" }, field("Failed since", since), field("Tenant", whose)),
    said,
    el("div", { class: "row" }, el("button", { class: "button", type: "submit" }, "Count them")),
  );
  return new Promise((answer) => {
    let done = false;
    const dialog = openDialog("Redeliver what failed", form, { closed: () => answer(done) });

    form.addEventListener("input", () => fill(said));
    form.counted = (body, told) => {
      if (!told.count) return fill(said, note("good", "Nothing failed since then."));
      const many = count(told.count, "delivery", "deliveries");
      const yes = button(`Redeliver ${many}`, () => perform(body, told.count), { kind: "main" });
      fill(
        said,
        el(
          "div",
          { class: "stack tight" },
          el(
            "p",
            {},
            el("strong", {}, many),
            ` failed since ${moment(body.since)}, of ${body.tenant || "all tenants"}.`,
          ),
          told.more && note("wait", "There are more: ten thousand at most are sent at once."),
          el("div", { class: "row" }, yes),
        ),
      );
    };

    async function perform(body, expected) {
      fill(said, loading("Sending them again…"));
      try {
        const told = await client.post("/ops/v1/deliveries/redeliver", {
          ...body,
          expected_count: expected,
        });
        done = true;
        dialog.close();
        toast(`${count(told.moved, "delivery", "deliveries")} sent again`);
      } catch (error) {
        fill(said, trouble(error));
      }
    }
  });

  async function counting(event) {
    event.preventDefault();
    if (!since.value) return fill(said, trouble({ title: "No time", message: "Say since when." }));
    const body = {
      since: new Date(since.value).toISOString(),
      ...(whose.value.trim() && { tenant: whose.value.trim() }),
    };
    fill(said, loading("Counting…"));
    try {
      form.counted(
        body,
        await client.post("/ops/v1/deliveries/redeliver", { ...body, dry_run: true }),
      );
    } catch (error) {
      fill(said, trouble(error));
    }
  }
}
