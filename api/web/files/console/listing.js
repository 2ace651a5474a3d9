// A paginated list; the page is in the URL, so that it can be shared.
import { el, fill } from "../shared/dom.js";
import { count } from "../shared/format.js";
import { icon } from "../shared/icons.js";
import { empty, note } from "../shared/notices.js";
import { tableRow } from "./formatters.js";
import { link } from "./router.js";

/** A selective filter gives short pages: read up to this many before asking the reader to go on. */
const PAGES_AT_ONCE = 8;
/** Refresh intervals; a list that scans many jobs is refreshed less often. */
const SECONDS = 3;
const SECONDS_RARELY = 30;
const ENOUGH = 25;

/**
 * `columns` are headings, `row(one)` returns the cells of an entry, `nothing(isFiltered)` the content
 * of an empty list; `path` is the path of the view, for the next page; `fold(all)` merges
 * entries that belong together into one row.
 */
export class Listing {
  #columns;
  #row;
  #nothing;
  #path;
  #fold;
  #body = el("tbody", {});
  #foot = el("div", { class: "row apart foot" });
  #frame = el("div", { class: "table-frame" });
  #table;
  node;
  /** Seconds until the next refresh. */
  seconds = SECONDS;

  constructor({ caption, columns, row, nothing, path, fold = (all) => all }) {
    this.#fold = fold;
    this.#columns = columns;
    this.#row = row;
    this.#nothing = nothing;
    this.#path = path;
    this.#table = el(
      "table",
      {},
      el("caption", { class: "unseen" }, caption),
      el(
        "thead",
        {},
        el(
          "tr",
          {},
          columns.map((words) => el("th", { scope: "col" }, words)),
        ),
      ),
      this.#body,
    );
    this.node = el("div", { class: "stack tight" }, this.#frame, this.#foot);
  }

  /** Load a page with `ask(cursor)` and show it; `query` is the query of the URL. */
  async load(ask, query) {
    const { cursor = "", ...filter } = query;
    const page = await this.#gather(ask, cursor);
    const isFiltered = Object.keys(filter).length > 0 || cursor !== "";
    preserveFocus(this.#body, () =>
      fill(
        this.#body,
        page.data.map((one) => tableRow(this.#columns, this.#row(one))),
      ),
    );
    const nothing = page.next_cursor
      ? note(
          "wait",
          "No match among the newest entries. Older ones may match: go to the next page.",
        )
      : this.#nothing(isFiltered);
    fill(this.#frame, page.data.length ? this.#table : nothing);
    this.#drawFoot(page, cursor, filter);
    return page;
  }

  /** Show no entries, for a filter that was refused. */
  clear() {
    fill(this.#body);
    fill(this.#frame, empty("search", "Nothing to show", el("p", {}, "Correct the filter first.")));
    fill(this.#foot);
  }

  async #gather(ask, cursor) {
    const data = [];
    let next = cursor;
    for (let pages = 1; pages <= PAGES_AT_ONCE; pages += 1) {
      const page = await ask(next);
      this.seconds = pages > 1 ? SECONDS_RARELY : SECONDS;
      data.push(...page.data);
      next = page.next_cursor;
      if (!next || this.#fold(data).length >= ENOUGH) break;
    }
    return { data: this.#fold(data), next_cursor: next };
  }

  #drawFoot(page, cursor, filter) {
    const back =
      cursor &&
      el("a", { class: "button small", href: link(this.#path, filter) }, "Back to the newest");
    const next =
      page.next_cursor &&
      el(
        "a",
        { class: "button small", href: link(this.#path, { ...filter, cursor: page.next_cursor }) },
        "Older",
        icon("send"),
      );
    fill(
      this.#foot,
      el(
        "span",
        { class: "soft small-text" },
        page.data.length ? `${count(page.data.length, "entry", "entries")} on this page` : "",
      ),
      el("span", { class: "row" }, back, next),
    );
  }
}

/** Run `act`, which replaces children of a node, then restore the focus by element name. */
export function preserveFocus(node, act) {
  const name = node.contains(document.activeElement) ? document.activeElement.dataset.keep : null;
  act();
  if (name) node.querySelector(`[data-keep="${CSS.escape(name)}"]`)?.focus();
}

/** The text of an empty list, with a link that removes the filter. */
export function nothingFound(what, about, path) {
  return (isFiltered) =>
    isFiltered
      ? empty(
          "search",
          `No ${what} matches`,
          el("p", {}, "Remove a filter, or show all."),
          el("a", { class: "button small", href: link(path) }, "Show all"),
        )
      : empty("clock", `No ${what} yet`, el("p", {}, about));
}
