// The tenant's jobs, newest first, page by page, kept up to date.
import { isBadFilter } from "../shared/api.js";
import { button } from "../shared/controls.js";
import { el, fill } from "../shared/dom.js";
import { count, number } from "../shared/format.js";
import { hasImage } from "../shared/image.js";
import { empty, loading, trouble } from "../shared/notices.js";
import { Filters, fits } from "./gallery_filters.js";
import { tileOf } from "./tile.js";

const PAGE = 24;
/** A selective filter gives short pages: read up to this many to fill one. */
const PAGES_AT_ONCE = 5;
/** With more changed jobs than this, reload instead of reading each. */
const RELOADED_MOST = 24;

export class Gallery {
  #client;
  #jobs = new Map();
  #cursor = null;
  #stop = new AbortController();
  #query = {};

  constructor(client, feed, models, open) {
    this.#client = client;
    this.open = open;
    this.filters = new Filters(models, () => this.#filter());
    this.list = el("ul", { class: "gallery" });
    this.notices = el("div", { role: "status" });
    this.errors = el("div", {});
    this.more = button("Show more", () => this.#next(), { hidden: true });
    const words = "Show new images";
    this.fresh = button(words, () => this.load(), {
      kind: "small",
      drawing: "again",
      hidden: true,
    });
    this.node = this.#build();
    feed.addEventListener("changed", ({ detail }) => this.#reload(detail));
    feed.addEventListener("gap", () => this.load());
  }

  #build() {
    const head = el("h2", { id: "gallery-head", class: "grow" }, "Your images");
    const more = el("div", { class: "row" }, this.more);
    return el(
      "section",
      { class: "card", "aria-labelledby": head.id },
      el("header", {}, head, this.fresh),
      el("div", { class: "stack" }, this.filters.node, this.errors, this.list, this.notices, more),
    );
  }

  /** Load the first page. */
  async load() {
    this.#stop.abort();
    this.#stop = new AbortController();
    this.#query = this.filters.query;
    this.#cursor = null;
    this.fresh.hidden = true;
    this.more.hidden = true;
    if (!this.#jobs.size) fill(this.notices, loading("Loading your images…"));
    await this.#read(new Map());
  }

  #filter() {
    const isOther = JSON.stringify(this.filters.query) !== JSON.stringify(this.#query);
    if (isOther) this.load();
  }

  /** Remove a deleted job. */
  forget(id) {
    this.#jobs.delete(id);
    this.#draw();
  }

  async #next() {
    const before = this.#jobs.size;
    this.more.disabled = true;
    await this.#read(this.#jobs);
    this.more.disabled = false;
    this.list.children[before]?.querySelector("button")?.focus();
  }

  async #read(jobs) {
    const { signal } = this.#stop;
    try {
      let found = 0;
      for (let page = 0; page < PAGES_AT_ONCE && found < PAGE; page += 1) {
        const { data, next_cursor: next } = await this.#client.get(
          "/v1/jobs",
          { ...this.#query, limit: PAGE - found, cursor: this.#cursor },
          { signal },
        );
        for (const job of data) jobs.set(job.id, job);
        found += data.length;
        this.#cursor = next;
        if (!next) break;
      }
      this.#jobs = jobs;
      fill(this.errors);
      this.#draw();
    } catch (error) {
      if (!signal.aborted) this.#failed(error, jobs);
    }
  }

  /** Show an error: of another page below the images, of the first above; no image matches a bad filter. */
  #failed(error, jobs) {
    if (jobs.size) return fill(this.notices, trouble(error, this.#again()));
    const isFilter = isBadFilter(error);
    fill(this.notices);
    fill(this.errors, trouble(error, isFilter ? null : this.#again(), this.filters.labels));
    if (!isFilter) return;
    this.#jobs = new Map();
    fill(this.list);
  }

  #again() {
    return button("Try again", () => this.load(), { kind: "small" });
  }

  #draw() {
    const shown = new Map(
      [...this.list.children].map((item) => [item.firstChild.dataset.job, item]),
    );
    const items = [...this.#jobs.values()].map((job) => this.#itemOf(job, shown.get(job.id)));
    // keep existing tiles in place, and with them the focus
    for (const [at, item] of items.entries()) {
      const there = this.list.children[at] ?? null;
      if (there !== item) this.list.insertBefore(item, there);
    }
    while (this.list.children.length > items.length) this.list.lastChild.remove();
    this.more.hidden = !this.#cursor;
    fill(
      this.notices,
      items.length
        ? el(
            "p",
            { class: "soft small-text" },
            `${shownText([...this.#jobs.values()])}${this.#cursor ? ", there are more" : ""}.`,
          )
        : this.#nothing(),
    );
  }

  #itemOf(job, known) {
    if (known && Number(known.firstChild.dataset.version) === job.version) return known;
    const hadFocus = known?.contains(document.activeElement);
    const tile = tileOf(job, {
      captioned: true,
      open: () => this.open(this.#jobs.get(job.id) ?? job),
    });
    const item = known ?? el("li");
    fill(item, tile);
    if (hadFocus) tile.focus();
    return item;
  }

  #nothing() {
    const isFiltered = Object.values(this.#query).some(Boolean);
    if (this.#cursor)
      return empty(
        "search",
        "Nothing found so far",
        el("p", {}, "Older images have not been searched yet."),
      );
    return isFiltered
      ? empty("search", "No matches", el("p", {}, "Try other filters."))
      : empty("image", "No images yet", el("p", {}, "Images generated with your key appear here."));
  }

  async #reload(ids) {
    const { signal } = this.#stop;
    if (ids.size > RELOADED_MOST || this.#query.q) {
      this.fresh.hidden = false;
      return;
    }
    const query = this.#query;
    const found = await Promise.all(
      [...ids].map((id) => this.#client.get(`/v1/jobs/${id}`, {}, { signal }).catch(() => null)),
    );
    if (signal.aborted) return;
    const jobs = new Map(this.#jobs);
    for (const job of found.filter(Boolean)) {
      if (fits(job, query)) jobs.set(job.id, job);
      else jobs.delete(job.id);
    }
    // ids sort by age, the newest last
    this.#jobs = new Map([...jobs].toSorted(([one], [other]) => (one < other ? 1 : -1)));
    this.#draw();
  }
}

/** Count the images, and apart from them the deleted ones and the jobs without one. */
function shownText(jobs) {
  const images = jobs.filter(hasImage).length;
  const deleted = jobs.filter(({ image }) => image?.deleted_at).length;
  const others = jobs.length - images - deleted;
  return [
    `${count(images, "image")} shown`,
    deleted && `${number(deleted)} deleted`,
    others && `${count(others, "job")} without an image`,
  ]
    .filter(Boolean)
    .join(", ");
}
