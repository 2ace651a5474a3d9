// The playground: a client of the public API, and nothing else.
import { Client } from "../shared/api.js";
import { connection } from "../shared/connection.js";
import { button } from "../shared/controls.js";
import { el, fill } from "../shared/dom.js";
import { frame } from "../shared/frame.js";
import { tenantKey } from "../shared/key.js";
import { askForKey } from "../shared/key_dialog.js";
import { loading, trouble } from "../shared/notices.js";
import { Bench } from "./workspace.js";

/** The models as everybody may see them, for whoever has no key yet. */
const PUBLIC_MODELS = new URL("../models.json", import.meta.url).pathname;
const main = document.querySelector("#main");
const client = new Client(tenantKey);
let bench = null;
/** What is in the form of a bench that is no more. */
let draft = null;
/** What was pressed before there was a key: a method of the request's panel. */
let pressed = null;
let begun = 0;
// before the frame, which may keep a key of the same link
addEventListener("hashchange", takeLink);
frame({ key: tenantKey, enterKey });
tenantKey.addEventListener("change", begin);
connection.addEventListener("back", () => bench ?? begin());
begin();

function enterKey() {
  askForKey(tenantKey, {
    heading: "Your key",
    words: [
      "The API key of your tenant, as your operator gave it to you. The browser sends it to this server only, and forgets it when you close this tab. While ",
      el("code", {}, "make up"),
      " runs, ",
      el("code", {}, ".darkroom/stack.json"),
      " contains one as ",
      el("code", {}, "api_key"),
      ".",
    ],
    check: (trial) => trial.get("/v1/models"),
    closed: () => {
      if (!tenantKey.value) pressed = null;
    },
  });
}

function needKey(name) {
  pressed = name;
  enterKey();
}

function takeLink() {
  if (bench) bench.takeLink();
  else draft = null;
}

/** Begins anew, as whoever has the key; what was asked for stays in the form. */
async function begin() {
  begun += 1;
  const turn = begun;
  const next = pressed;
  pressed = null;
  draft = bench?.asked ?? draft;
  bench?.close();
  bench = null;
  const hasKey = tenantKey.value !== "";
  show(loading("Loading the parameters…"));
  try {
    const { data: models } = await client.get(hasKey ? "/v1/models" : PUBLIC_MODELS);
    if (turn !== begun) return;
    bench = new Bench(client, models, { draft, needKey: hasKey ? null : needKey });
  } catch (error) {
    if (turn === begun) show(trouble(error, wayOut()));
    return;
  }
  show(hasKey ? null : welcome(), bench.nodes);
  bench.begin();
  if (next) bench.request[next]();
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
    { class: "welcome" },
    el("strong", {}, "Try it here, then copy the code"),
    el(
      "p",
      { class: "soft" },
      "Describe the image and press Run. The Code tab shows the same request for curl, Python, JavaScript, and the clients of OpenAI and Replicate. Running it needs a key.",
    ),
    el("div", { class: "row" }, button("Enter your key", enterKey, { kind: "small" })),
  );
}
