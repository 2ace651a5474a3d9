// A list page: heading, tools, filter and the listing.
import { isBadFilter } from "../shared/api.js";
import { el } from "../shared/dom.js";
import { Listing } from "./listing.js";

/**
 * `at.query` is the query of the URL; `list` holds the options of `Listing`, `tools` stand next to
 * the heading, `filter` above the list; `beside`, `{node, load(signal, query)}`, loads with it. The
 * buttons `bulk` act on the entries of the filter and are disabled while it is invalid.
 */
export function listView(parts) {
  const { heading, client, at, list, tools, filter, beside, bulk = [], limit = 50 } = parts;
  const listing = new Listing(list);
  const path = `/ops/v1/${list.path}`;
  const head = el("div", { class: "row apart" }, el("h1", {}, heading), tools);
  const node = el("div", { class: "stack" }, head, filter?.node, beside?.node, listing.node);
  filter?.fits(at.query);

  async function load(signal) {
    const ask = (cursor) => client.get(path, { ...at.query, limit, cursor }, { signal });
    try {
      await Promise.all([listing.load(ask, at.query), beside?.load(signal, at.query)]);
    } catch (error) {
      if (isBadFilter(error)) refuse(error);
      throw error;
    }
    for (const button of bulk) button.disabled = false;
    filter?.mark([]);
  }

  /** Nothing matches an invalid filter. */
  function refuse(error) {
    listing.clear();
    for (const button of bulk) button.disabled = true;
    if (!filter) return;
    error.faults = filter.reword(error.faults);
    filter.mark(error.faults);
  }

  return {
    heading,
    node,
    labels: filter?.labels,
    get seconds() {
      return listing.seconds;
    },
    turn(query) {
      at.query = query;
      filter?.fits(query);
    },
    load,
  };
}
