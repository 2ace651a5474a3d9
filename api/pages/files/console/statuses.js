// The jobs there are by status, each the way to its list.
import { el, fill } from "../parts/dom.js";
import { number, title } from "../parts/words.js";
import { STATUSES } from "./known.js";
import { keepingFocus } from "./listing.js";
import { link } from "./places.js";

/** Links to each status within the filter; with how many there are, where nothing else is chosen. */
export function statusLinks(client) {
  const node = el("nav", { class: "choices", "aria-label": "Jobs by status" });

  function draw({ cursor, status = "", ...filter }, counts) {
    const one = (name) =>
      el(
        "a",
        {
          class: "button small",
          href: link("jobs", { ...filter, status: name }),
          "aria-current": name === status ? "true" : null,
          data: { keep: `status-${name}` },
        },
        name ? title(name) : "All",
        counts && name && el("b", {}, number(counts[name])),
      );
    keepingFocus(node, () => fill(node, ["", ...STATUSES].map(one)));
  }

  async function load(signal, query) {
    const { cursor, status, ...filter } = query;
    const isAll = Object.keys(filter).length === 0;
    const counts = isAll ? (await client.get("/ops/v1/now", {}, { signal })).jobs : null;
    draw(query, counts);
  }

  return { node, load };
}
