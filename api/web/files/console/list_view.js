// A list page: heading, tools, filter and the listing.
import { el } from "../shared/dom.js";
import { Listing } from "./listing.js";

/**
 * `at.query` is the query of the URL; `list` holds the options of `Listing`, `tools` stand next to
 * the heading, `filter` above the list; `beside`, `{node, load(signal, query)}`, loads with it.
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
