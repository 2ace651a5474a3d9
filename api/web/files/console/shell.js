// The frame around every view: navigation, auto-refresh, and the rights of the key.
import { writtenFile } from "../shared/address.js";
import { isBadFilter } from "../shared/api.js";
import { button, iconButton } from "../shared/controls.js";
import { el, fill } from "../shared/dom.js";
import { moment } from "../shared/format.js";
import { empty, loading, note, trouble } from "../shared/notices.js";
import { audit } from "./audit.js";
import { Live } from "./auto_refresh.js";
import { deliveries } from "./deliveries.js";
import { endpoints } from "./endpoints.js";
import { job } from "./job.js";
import { jobs } from "./jobs.js";
import { now } from "./overview.js";
import { go, link, placeOf } from "./router.js";
import { tenant } from "./tenant.js";
import { tenants } from "./tenants.js";
import { usage } from "./usage.js";
import { workers } from "./workers.js";

/** What the service shows every visitor: see `_service_file` in `api/web/pages.py`. */
const SERVICE = writtenFile("service.json");
const VIEWS = { now, jobs, deliveries, endpoints, tenants, usage, workers, audit };
/** Detail views, by the list they belong to. */
const ONE = { jobs: job, tenants: tenant };
const NAMES = {
  now: "Now",
  jobs: "Jobs",
  deliveries: "Deliveries",
  endpoints: "Endpoints",
  tenants: "Tenants",
  usage: "Usage",
  workers: "Workers",
  audit: "Audit",
};

/**
 * A view is a function of `{client, may, live, place}` that returns `{heading, node, load, seconds}`:
 * `load(signal)` fetches and shows its data; the optional `turn(query)` changes its query, `labels` are
 * those of its parameters for errors.
 */
export class Shell {
  #client;
  #key;
  #enterKey;
  #main;
  #live = new Live();
  #outlet = el("div", { class: "stack outlet" });
  #notices = el("div", { class: "trouble" });
  #bar = el("div", { class: "bar" });
  #me = null;
  #view = null;
  #name = "";

  constructor({ main, client, key, enterKey }) {
    this.#client = client;
    this.#key = key;
    this.#enterKey = enterKey;
    this.#main = main;
    addEventListener("hashchange", () => this.#me && this.#show());
    this.#live.addEventListener("change", () => this.#drawBar());
  }

  /** Start over with the current key. */
  async begin() {
    this.#live.stop();
    this.#me = this.#view = null;
    fill(this.#main, loading(this.#key.value ? "Checking this key…" : "Checking who you are…"));
    try {
      // without a key, only an authenticating proxy can say who this is
      if (!this.#key.value && !(await this.#client.get(SERVICE)).has_people) return this.#ask();
      this.#me = await this.#client.get("/ops/v1/me");
    } catch (error) {
      if (!this.#key.value && error.status === 401) return this.#ask();
      const other = el(
        "div",
        { class: "row" },
        button("Try again", () => this.begin()),
        button("Use another key", this.#enterKey),
      );
      return fill(this.#main, trouble(error, other));
    }
    fill(this.#main, this.#bar, this.#notices, this.#outlet);
    this.#show();
  }

  #ask() {
    const about = el(
      "p",
      {},
      "See why jobs wait, find and retry jobs, redeliver webhooks, pause queues, and manage keys.",
    );
    fill(
      this.#main,
      el("h1", { class: "unseen" }, "Operations"),
      empty(
        "key",
        "This page needs an operator key",
        about,
        button("Enter an operator key", this.#enterKey, { kind: "main" }),
        el(
          "p",
          { class: "small-text" },
          "While ",
          el("code", {}, "make up"),
          " runs, ",
          el("code", {}, "stack.json"),
          " in the data directory (",
          el("code", {}, ".darkroom"),
          " by default) contains one as ",
          el("code", {}, "ops_key"),
          "; otherwise, ",
          el("code", {}, "darkroom ops-keys create"),
          " creates one.",
        ),
      ),
    );
    document.title = "Operations · Darkroom";
  }

  #show() {
    const place = placeOf(location.hash);
    // "#main" is the skip link and not a view
    if (!place) return this.#view ? null : go("now");
    const kinds = place.rest.length ? ONE : VIEWS;
    // members that every object inherits are not views
    const kind = Object.hasOwn(kinds, place.view) ? kinds[place.view] : nowhere;
    const name = [place.view, ...place.rest].join("/");
    if (this.#view?.turn && name === this.#name) this.#view.turn(place.query);
    else this.#open(kind, place, name);
    document.title = `${this.#view.heading} · Darkroom`;
    this.#drawBar();
    const view = this.#view;
    this.#live.follow(
      (signal) => this.#load(view, signal),
      () => view.seconds ?? 0,
    );
  }

  #open(kind, place, name) {
    const wasOpen = this.#view !== null;
    this.#view = kind({ client: this.#client, may: this.#may, live: this.#live, place });
    this.#name = name;
    this.#view.isNew = true;
    fill(this.#notices);
    fill(this.#outlet, loading(`Loading ${this.#view.heading.toLowerCase()}…`));
    if (wasOpen) this.#main.focus({ preventScroll: false });
    if (wasOpen) scrollTo(0, 0);
  }

  async #load(view, signal) {
    try {
      await view.load(signal);
    } catch (error) {
      if (signal.aborted) return;
      return this.#failed(view, error);
    }
    if (signal.aborted) return;
    view.since = new Date().toISOString();
    fill(this.#notices);
    this.#display(view);
  }

  #failed(view, error) {
    // with its faults, a filter stays to be corrected
    if (isBadFilter(error)) {
      view.since = null;
      fill(this.#notices, trouble(error, null, view.labels));
      return this.#display(view);
    }
    const again = button("Try again", () => this.#live.now());
    const old = view.since ? el("p", {}, `The data below is from ${moment(view.since)}.`) : null;
    fill(
      this.#notices,
      trouble(error, el("div", { class: "stack tight" }, old, el("div", { class: "row" }, again))),
    );
    if (view.isNew) fill(this.#outlet);
  }

  #display(view) {
    if (!view.isNew) return;
    view.isNew = false;
    fill(this.#outlet, view.node);
  }

  get #may() {
    return this.#me.scopes.includes("ops:write");
  }

  #drawBar() {
    const here = placeOf(location.hash)?.view ?? "now";
    const names = Object.entries(NAMES).map(([view, words]) =>
      el("a", { href: link(view), "aria-current": view === here ? "page" : null }, words),
    );
    const { isOn } = this.#live;
    const live = button(isOn ? "Live" : "Live: off", () => this.#live.turn(!isOn), {
      kind: "small",
      drawing: isOn ? "pause" : "play",
      "aria-pressed": isOn,
    });
    const again = iconButton("again", "Refresh now", () => this.#live.now(), { kind: "small" });
    fill(
      this.#bar,
      el("nav", { "aria-label": "Operations" }, names),
      el(
        "div",
        { class: "row" },
        this.#me.person && el("span", { class: "badge" }, this.#me.person),
        !this.#may &&
          el(
            "span",
            { class: "badge wait", title: "You have the scope ops:read but not ops:write" },
            "Read only",
          ),
        live,
        again,
      ),
    );
  }
}

function nowhere() {
  const node = note(
    "wait",
    el("strong", {}, "Page not found"),
    el("a", { href: link("now") }, "Go to the overview"),
  );
  return { heading: "Not found", node, load: async () => {} };
}
