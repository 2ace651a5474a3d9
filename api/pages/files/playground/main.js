// The playground: a client of the public API, and nothing else.
import { Client } from "../parts/api.js";
import { connection } from "../parts/connection.js";
import { button } from "../parts/controls.js";
import { el, fill } from "../parts/dom.js";
import { frame } from "../parts/frame.js";
import { tenantKey } from "../parts/key.js";
import { askForKey } from "../parts/key_dialog.js";
import { empty, loading, trouble } from "../parts/say.js";
import { Bench } from "./bench.js";

const main = document.querySelector("#main");
const client = new Client(tenantKey);
let bench = null;

frame({ key: tenantKey, enterKey });
tenantKey.addEventListener("change", begin);
connection.addEventListener("back", () => bench ?? begin());
begin();

function enterKey() {
  askForKey(tenantKey, {
    heading: "Your key",
    words:
      "A tenant's key, as an operator gave it to you. It stays in this tab until you close it, and goes to this server only.",
    check: (trial) => trial.get("/v1/models"),
  });
}

/** Begins anew, as whoever has the key. */
async function begin() {
  bench?.close();
  bench = null;
  if (!tenantKey.value) return show(welcome());
  show(loading("Reading what can be asked for…"));
  try {
    const models = (await client.get("/v1/models")).data;
    bench = new Bench(client, models);
  } catch (error) {
    return show(trouble(error, wayOut()));
  }
  show(bench.nodes);
  bench.begin();
}

function show(...nodes) {
  fill(main, el("h1", { class: "unseen" }, "Playground"), nodes);
}

function wayOut() {
  const again = button("Try again", begin, { kind: "small" });
  const other = button("Enter another key", enterKey, { kind: "small" });
  return el("div", { class: "row" }, again, other);
}

function welcome() {
  return el(
    "div",
    { class: "card" },
    empty(
      "aperture",
      "Try it here, then take the code",
      el(
        "p",
        {},
        "Write what the picture should show, watch it being made, and take the very request away as curl, Python, JavaScript or for a client that you already use.",
      ),
      button("Enter your key", enterKey, { kind: "main" }),
      el(
        "p",
        { class: "small-text" },
        "While ",
        el("code", {}, "make up"),
        " runs, ",
        el("code", {}, ".darkroom/stack.json"),
        " has one as ",
        el("code", {}, "api_key"),
        ".",
      ),
    ),
  );
}
