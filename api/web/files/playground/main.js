// The playground, a client of the public API.
import { writtenFile } from "../shared/address.js";
import { Client } from "../shared/api.js";
import { connection } from "../shared/connection.js";
import { button } from "../shared/controls.js";
import { el, fill } from "../shared/dom.js";
import { frame } from "../shared/frame.js";
import { tenantKey } from "../shared/key.js";
import { askForKey } from "../shared/key_dialog.js";
import { loading, trouble } from "../shared/notices.js";
import { Workspace } from "./workspace.js";

/** The public list of models, for readers without a key. */
const PUBLIC_MODELS = writtenFile("models.json");
const main = document.querySelector("#main");
const client = new Client(tenantKey);
let workspace = null;
/** The form's content of a closed workspace. */
let draft = null;
/** The method of the request panel to call once a key is entered. */
let pressed = null;
let begun = 0;
// before the frame, which may store a key from the same link
addEventListener("hashchange", takeLink);
frame({ key: tenantKey, enterKey });
tenantKey.addEventListener("change", begin);
connection.addEventListener("back", () => workspace ?? begin());
begin();

function enterKey() {
  askForKey(tenantKey, {
    heading: "Your key",
    words: [
      "The API key of your tenant, as your operator gave it to you. The browser sends it to this server only, and deletes it when you close this tab. While ",
      el("code", {}, "make up"),
      " runs, ",
      el("code", {}, "stack.json"),
      " in the data directory (",
      el("code", {}, ".darkroom"),
      " by default) contains one as ",
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
  if (workspace) workspace.takeLink();
  else draft = null;
}

/** Start over with the current key; the content of the form stays. */
async function begin() {
  begun += 1;
  const turn = begun;
  const next = pressed;
  pressed = null;
  draft = workspace?.draft ?? draft;
  workspace?.close();
  workspace = null;
  const hasKey = tenantKey.value !== "";
  show(loading("Loading the parameters…"));
  try {
    const { data: models } = await client.get(hasKey ? "/v1/models" : PUBLIC_MODELS);
    if (turn !== begun) return;
    workspace = new Workspace(client, models, { draft, needKey: hasKey ? null : needKey });
  } catch (error) {
    if (turn === begun) show(trouble(error, wayOut()));
    return;
  }
  show(hasKey ? null : welcome(), workspace.nodes);
  workspace.begin();
  if (next) workspace.request[next]();
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
