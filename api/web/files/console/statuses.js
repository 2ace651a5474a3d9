// Links to the jobs of each status.
import { el, fill } from "../shared/dom.js";
import { number, title } from "../shared/format.js";
import { STATUSES } from "./enums.js";
import { preserveFocus } from "./listing.js";
import { link } from "./router.js";

/** Links to each status within the filter; with counts if nothing else is filtered. */
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
    preserveFocus(node, () => fill(node, ["", ...STATUSES].map(one)));
  }

  async function load(signal, query) {
    const { cursor, status, ...filter } = query;
    const isAll = Object.keys(filter).length === 0;
    const counts = isAll ? (await client.get("/ops/v1/overview", {}, { signal })).jobs : null;
    draw(query, counts);
  }

  return { node, load };
}
