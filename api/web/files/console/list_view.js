// The view of a list: a heading with what can be done, a filter, and the pages.
import { el } from "../shared/dom.js";
import { Listing } from "./listing.js";

/**
 * `at.query` is what the address says now; `list` is what `Listing` wants, `tools` stand beside the
 * heading, `filter` above the list, and `beside` is asked with it: `{node, load(signal, query)}`.
 */
export function listView(parts) {
  const { heading, client, at, list, tools, filter, beside, limit = 50 } = parts;
  const listing = new Listing(list);
  const path = `/ops/v1/${list.path}`;
  const head = el("div", { class: "row apart" }, el("h1", {}, heading), tools);
  const node = el("div", { class: "stack" }, head, filter?.node, beside?.node, listing.node);
  filter?.fits(at.query);
  return {
    heading,
    node,
    get seconds() {
      return listing.seconds;
    },
    turn(query) {
      at.query = query;
      filter?.fits(query);
    },
    load(signal) {
      const ask = (cursor) => client.get(path, { ...at.query, limit, cursor }, { signal });
      return Promise.all([listing.load(ask, at.query), beside?.load(signal, at.query)]);
    },
  };
}
