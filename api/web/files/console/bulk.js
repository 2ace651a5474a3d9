// Many jobs at once: counted first, and moved only if no more fit by then.
import { button } from "../shared/controls.js";
import { openDialog } from "../shared/dialog.js";
import { el, fill } from "../shared/dom.js";
import { count, number, title } from "../shared/format.js";
import { loading, note, toast, trouble } from "../shared/notices.js";

const VERBS = {
  retry: {
    head: "Retry the jobs that fit",
    verb: "Retry",
    done: "sent again",
    kind: "main",
    what: "failed",
    other: "Only failed jobs are sent again, unless the filter says “canceled”.",
  },
  cancel: {
    head: "Cancel the jobs that fit",
    verb: "Cancel",
    done: "canceled",
    kind: "bad",
    what: "queued or running",
    other: "What is running is dropped, and may be billed.",
  },
};
const WHY = {
  state: "were not in a state for it any more",
  gone: "were forgotten meanwhile",
  tenant_full: "did not fit into their tenant's queue limit",
  spent: "are of tenants whose credits of today are spent",
  full: "did not fit into the queue",
  behind: "could not be done before their deadline",
};

/** Counts what fits the filter in a dialog, and moves it when the reader says so; gives whether. */
export function moveMany(client, name, query) {
  const { head, verb, done, kind, what, other } = VERBS[name];
  const filter = Object.fromEntries(
    Object.entries(query).filter(([field, value]) => field !== "cursor" && value),
  );
  return new Promise((answer) => {
    let moved = false;
    const inside = el("div", { class: "stack" }, loading("Counting…"));
    const dialog = openDialog(head, inside, { closed: () => answer(moved) });
    counting();

    async function counting() {
      try {
        const told = await client.post(`/ops/v1/jobs/${name}`, { filter, dry_run: true });
        offer(told);
      } catch (error) {
        fill(inside, trouble(error), row());
      }
    }

    function offer({ count: many, more }) {
      if (!many)
        return fill(
          inside,
          note("wait", el("strong", {}, `No ${what} job fits`), el("p", {}, filterWords(filter))),
          row(),
        );
      const yes = button(`${verb} ${count(many, "job")}`, () => perform(many, yes), { kind });
      fill(
        inside,
        el(
          "p",
          {},
          el("strong", { class: "large" }, count(many, `${filter.status ?? what} job`)),
          ` ${many === 1 ? "fits" : "fit"}: ${filterWords(filter)}.`,
        ),
        more &&
          note("wait", "There are more: ten thousand at most are moved at once, the newest first."),
        el("p", { class: "soft" }, `${other} If more fit by then, none is moved.`),
        row(yes),
      );
      if (kind === "main") yes.focus();
    }

    async function perform(many, yes) {
      yes.disabled = true;
      fill(yes, `${verb}…`);
      try {
        const told = await client.post(`/ops/v1/jobs/${name}`, { filter, expected_count: many });
        moved = true;
        tell(told);
      } catch (error) {
        fill(
          inside,
          trouble(error),
          row(
            button("Count again", () => {
              fill(inside, loading("Counting…"));
              counting();
            }),
          ),
        );
      }
    }

    function tell(told) {
      const refused = Object.entries(told.refused).map(([why, many]) =>
        el("li", {}, `${number(many)} ${WHY[why] ?? title(why).toLowerCase()}`),
      );
      if (!refused.length) {
        dialog.close();
        return toast(`${count(told.moved, "job")} ${done}`);
      }
      fill(
        inside,
        note(
          "wait",
          el("strong", {}, `${count(told.moved, "job")} ${done}`),
          el("ul", {}, refused),
        ),
        row(),
      );
    }

    function row(...buttons) {
      return el(
        "div",
        { class: "row" },
        buttons,
        button(buttons.length ? "No, leave them" : "Close", () => dialog.close()),
      );
    }
  });
}

function filterWords(filter) {
  const named = Object.entries(filter).filter(([name]) => name !== "status");
  const pairs = named.map(([name, value]) => `${title(name).toLowerCase()} ${value}`);
  return pairs.length ? pairs.join(", ") : "of all tenants";
}
