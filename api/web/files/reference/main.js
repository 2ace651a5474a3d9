// The API reference, built from the service's OpenAPI document.
import { Client } from "../shared/api.js";
import { button } from "../shared/controls.js";
import { el, fill } from "../shared/dom.js";
import { frame } from "../shared/frame.js";
import { operatorKey, tenantKey } from "../shared/key.js";
import { askForKey } from "../shared/key_dialog.js";
import { loading, trouble } from "../shared/notices.js";
import { contentsOf, sectionOf } from "./contents.js";
import { operationsByTag } from "./document.js";
import { introductionOf } from "./introduction.js";
import { remembering } from "./local_storage.js";
import { operationOf } from "./operation.js";

const main = document.querySelector("#main");
const tenant = new Client(tenantKey);
const operator = new Client(operatorKey);

frame({ key: tenantKey, enterKey });
begin();

function enterKey() {
  askForKey(tenantKey, {
    heading: "Your key",
    words:
      "The API key of your tenant, for “Run it”. The browser deletes it when you close this tab.",
    check: (trial) => trial.get("/v1/models"),
  });
}

function enterOperatorKey() {
  askForKey(operatorKey, {
    heading: "Operator key",
    words: "A key with operator scopes. The browser deletes it when you close this tab.",
    check: (trial) => trial.get("/ops/v1/queues"),
  });
}

async function begin() {
  fill(main, loading("Loading the reference…"));
  try {
    show(await tenant.get("/openapi.json"));
  } catch (error) {
    fill(main, trouble(error, button("Try again", begin, { kind: "small" })));
  }
}

function show(document) {
  const memory = remembering(document);
  const readerFor = ({ scopes }) => {
    const isOperators = scopes.some((one) => one.startsWith("ops:"));
    return { document, client: isOperators ? operator : tenant, ...memory };
  };
  const tags = operationsByTag(document).map(([tag, operations]) => ({
    tag,
    operations,
    entries: operations.map((one) => operationOf(one, readerFor(one))),
  }));
  const sections = [introductionOf(document, enterOperatorKey), tags.map(sectionOf)];
  const right = el("div", { class: "stack" }, sections);
  fill(main, el("div", { class: "reference" }, contentsOf(tags), right));
  openNamed();
  addEventListener("hashchange", openNamed);
}

/** Open the operation named by the URL. */
function openNamed() {
  const named = document.getElementById(location.hash.slice(1));
  if (!named) return;
  if (named.matches("details")) named.open = true;
  named.scrollIntoView({ block: "start" });
}
