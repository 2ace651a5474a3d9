// The API reference, from the service's own OpenAPI document.
import { Client } from "../parts/api.js";
import { el, fill } from "../parts/dom.js";
import { frame } from "../parts/frame.js";
import { operatorKey, tenantKey } from "../parts/key.js";
import { askForKey } from "../parts/key_dialog.js";
import { loading, trouble } from "../parts/say.js";
import { title } from "../parts/words.js";
import { operationsByTag } from "./document.js";
import { firstLine, operationOf } from "./operation.js";
import { remembering } from "./remembering.js";

const main = document.querySelector("#main");
/** Names that are not written as they sound. */
const NAMES = { openai: "OpenAI" };
const tenant = new Client(tenantKey);
const operator = new Client(operatorKey);

frame({
  key: tenantKey,
  enterKey: () =>
    enterKey(
      tenantKey,
      "Your key",
      "A tenant's key, for “Run it”. It stays in this tab until you close it.",
      "/v1/models",
    ),
});
begin();

function enterKey(key, heading, words, path) {
  askForKey(key, { heading, words, check: (trial) => trial.get(path) });
}

async function begin() {
  fill(main, loading("Reading the reference…"));
  try {
    show(await tenant.get("/openapi.json"));
  } catch (error) {
    fill(
      main,
      trouble(
        error,
        el("button", { type: "button", class: "button small", onclick: begin }, "Try again"),
      ),
    );
  }
}

function show(told) {
  const memory = remembering(told);
  const readerFor = ({ scopes }) => ({
    document: told,
    client: scopes.some((one) => one.startsWith("ops:")) ? operator : tenant,
    ...memory,
  });
  const tags = operationsByTag(told).map(([tag, operations]) => ({
    tag,
    operations,
    entries: operations.map((one) => operationOf(one, readerFor(one))),
  }));
  const search = el("input", {
    type: "search",
    "aria-label": "Find an operation",
    placeholder: "Find…",
    oninput: () => filter(tags, search.value),
  });
  fill(
    main,
    el(
      "div",
      { class: "reference" },
      el(
        "nav",
        { class: "contents", "aria-label": "Operations" },
        search,
        el(
          "ul",
          {},
          tags.map(({ tag, operations }) =>
            el(
              "li",
              {},
              el("a", { href: `#tag-${tag}` }, nameOf(tag)),
              el("span", { class: "soft small-text" }, ` ${operations.length}`),
            ),
          ),
        ),
      ),
      el("div", { class: "stack" }, introduction(told), tags.map(sectionOf)),
    ),
  );
  openNamed();
  addEventListener("hashchange", openNamed);
}

function introduction({ info }) {
  return el(
    "section",
    { class: "card stack" },
    el("h1", {}, "API reference"),
    el(
      "p",
      {},
      `${info.description} Version ${info.version}, at `,
      el("code", {}, location.origin),
      ".",
    ),
    firstLine(),
    el(
      "p",
      {},
      "Times are RFC 3339 in UTC, durations are seconds. Whatever goes wrong is told as a problem (RFC 9457): ",
      el("code", {}, "code"),
      " is stable, and ",
      el("code", {}, "errors"),
      " names every fault of a request at once. An unknown field is refused.",
    ),
    el(
      "p",
      {},
      "The document itself is ",
      el("a", { href: "/openapi.json" }, "/openapi.json"),
      " (OpenAPI 3.1). What is tried here is done for real, with the key of this tab. ",
      "What operators may do needs theirs: ",
      el(
        "button",
        {
          type: "button",
          class: "button small",
          onclick: () =>
            enterKey(
              operatorKey,
              "An operator's key",
              "A key with the scopes of operators. It stays in this tab until you close it.",
              "/ops/v1/queues",
            ),
        },
        "Enter an operator's key",
      ),
    ),
  );
}

function sectionOf({ tag, entries }) {
  return el(
    "section",
    { class: "card tag-section", "aria-labelledby": `tag-${tag}` },
    el("h2", { id: `tag-${tag}` }, nameOf(tag)),
    el("div", { class: "operations" }, entries),
  );
}

function nameOf(tag) {
  return NAMES[tag] ?? title(tag);
}

/** Opens what the address names. */
function openNamed() {
  const named = document.getElementById(location.hash.slice(1));
  if (!named) return;
  if (named.matches("details")) named.open = true;
  named.scrollIntoView({ block: "start" });
}

function filter(tags, text) {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  for (const { operations, entries } of tags) {
    entries.forEach((entry, index) => {
      const { method, path, brief, id } = operations[index];
      const all = `${method} ${path} ${brief} ${id}`.toLowerCase();
      entry.hidden = !words.every((word) => all.includes(word));
    });
    entries[0].closest("section").hidden = entries.every(({ hidden }) => hidden);
  }
}
