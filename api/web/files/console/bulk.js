// Bulk retry, cancel and deletion: count the matching jobs first; change nothing if more match later.
import { button } from "../shared/controls.js";
import { openDialog } from "../shared/dialog.js";
import { el, fill } from "../shared/dom.js";
import { count, number, title } from "../shared/format.js";
import { loading, note, toast, trouble } from "../shared/notices.js";
import { erasureProgress } from "./erasure.js";

const AT_ONCE = "There are more: at most 10,000 are processed at once, newest first.";
const VERBS = {
  retry: {
    head: "Retry the matching jobs",
    verb: "Retry",
    done: "queued again",
    kind: "main",
    what: "failed",
    other: "Only failed jobs are retried, unless the filter is “canceled”.",
    more: AT_ONCE,
  },
  cancel: {
    head: "Cancel the matching jobs",
    verb: "Cancel",
    done: "canceled",
    kind: "bad",
    what: "queued or running",
    other: "The results of running jobs are discarded, and the provider may bill their calls.",
    more: AT_ONCE,
  },
  delete: {
    head: "Delete the matching jobs",
    verb: "Delete",
    kind: "bad",
    what: "succeeded, failed or canceled",
    other: "Their records, images and deliveries are deleted. This cannot be undone.",
    more: "There are more: all that match are deleted.",
  },
};
const WHY = {
  state: "had changed their status",
  tenant_gone: "belong to tenants that are being deleted",
  gone: "had been deleted",
  prompt_withheld: "were archived without their prompt",
  tenant_full: "exceeded their tenant's queue limit",
  budget_spent: "belong to a tenant or key whose credits for the day or month are spent",
  too_fast: "exceeded their tenant's or key's requests per minute",
  model_gone: "use a model that the provider no longer offers",
  full: "exceeded the queue limit",
  behind: "could not finish before their deadline",
};

/** Count the jobs that match the filter, then change them on confirmation; resolve to whether any changed. */
export function changeMany(client, name, query) {
  const { head, verb, done, kind, what, other, more: moreWords } = VERBS[name];
  const filter = filterOf(query);
  return new Promise((answer) => {
    let changed = false;
    const inside = el("div", { class: "stack" }, loading("Counting…"));
    const dialog = openDialog(head, inside, { closed: () => answer(changed) });
    counting();

    async function counting() {
      try {
        const result = await client.post(`/ops/v1/jobs/${name}`, { filter, dry_run: true });
        offer(result);
      } catch (error) {
        fill(inside, trouble(error), row());
      }
    }

    function offer({ count: many, more }) {
      if (!many)
        return fill(
          inside,
          note(
            "wait",
            el("strong", {}, `No ${what} job matches`),
            el("p", {}, filterWords(filter)),
          ),
          row(),
        );
      const yes = button(`${verb} ${count(many, "job")}`, () => perform(many, yes), { kind });
      fill(
        inside,
        el(
          "p",
          {},
          el("strong", { class: "large" }, count(many, `${filter.status ?? what} job`)),
          ` ${many === 1 ? "matches" : "match"}: ${filterWords(filter)}.`,
        ),
        more && note("wait", moreWords),
        el("p", { class: "soft" }, `${other} If more jobs match by then, nothing is changed.`),
        row(yes),
      );
      if (kind === "main") yes.focus();
    }

    async function perform(many, yes) {
      yes.disabled = true;
      fill(yes, `${verb}…`);
      try {
        const result = await client.post(`/ops/v1/jobs/${name}`, { filter, expected_count: many });
        changed = true;
        if (name === "delete") fill(inside, erasureProgress(client, result), row());
        else tell(result);
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

    function tell(result) {
      const refused = Object.entries(result.refused).map(([why, many]) =>
        el("li", {}, `${number(many)} ${WHY[why] ?? title(why).toLowerCase()}`),
      );
      if (!refused.length) {
        dialog.close();
        return toast(`${count(result.moved, "job")} ${done}`);
      }
      fill(
        inside,
        note(
          "wait",
          el("strong", {}, `${count(result.moved, "job")} ${done}`),
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
        button(buttons.length ? "Back" : "Close", () => dialog.close()),
      );
    }
  });
}

/** The filter of a body for a query: it has numbers, and pairs of metadata in one member. */
function filterOf({ cursor, ...query }) {
  const filter = {};
  for (const [name, value] of Object.entries(query)) {
    if (name.startsWith("metadata."))
      filter.metadata = { ...filter.metadata, [name.slice("metadata.".length)]: value };
    else if (value) filter[name] = name === "seed" ? Number(value) : value;
  }
  return filter;
}

function filterWords({ metadata = {}, ...filter }) {
  const named = Object.entries(filter).filter(([name]) => name !== "status");
  const words = named.map(
    ([name, value]) => `${name === "q" ? "prompt with" : title(name).toLowerCase()} ${value}`,
  );
  const own = Object.entries(metadata).map(([name, value]) => `metadata ${name}=${value}`);
  const pairs = [...words, ...own];
  return pairs.length ? pairs.join(", ") : "of all tenants";
}
