// The playground: a client of the public API, and nothing else.
import { Client } from "../parts/api.js";
import { connection } from "../parts/connection.js";
import { el, fill } from "../parts/dom.js";
import { frame } from "../parts/frame.js";
import { askForKey } from "../parts/key_dialog.js";
import { tenantKey } from "../parts/key.js";
import { empty, loading, toast, trouble } from "../parts/say.js";
import { deedsOf } from "./deeds.js";
import { openDetails } from "./details.js";
import { Feed } from "./feed.js";
import { Gallery } from "./gallery.js";
import { Output } from "./output.js";
import { Parameters, readLink } from "./parameters.js";
import { requestOf } from "./request.js";

const main = document.querySelector("#main");
const client = new Client(tenantKey);
const feed = new Feed(client);

frame({ key: tenantKey, enterKey });
tenantKey.addEventListener("change", begin);
connection.addEventListener("back", () => main.querySelector(".request") ?? begin());
begin();

function enterKey() {
  askForKey(tenantKey, {
    heading: "Your key",
    words: "A tenant's key, as an operator gave it to you. It stays in this tab until you close it, and goes to this server only.",
    check: (trial) => trial.get("/v1/models"),
  });
}

/** Begins anew, as whoever has the key. */
async function begin() {
  feed.stop();
  if (!tenantKey.value) return fill(main, el("h1", { class: "unseen" }, "Playground"), welcome());
  fill(main, loading("Reading what can be asked for…"));
  const models = await client.get("/v1/models").catch(refused);
  if (models) open(models.data);
}

function refused(error) {
  const again = el("button", { type: "button", class: "button small", onclick: begin }, "Try again");
  fill(main, trouble(error, el("div", { class: "row" }, again, el("button", { type: "button", class: "button small", onclick: enterKey }, "Enter another key"))));
}

function welcome() {
  return el("div", { class: "card" }, empty("aperture", "Try it here, then take the code",
    el("p", {}, "Write what the picture should show, watch it being made, and take the very request away as curl, Python, JavaScript or for a client that you already use."),
    el("button", { type: "button", class: "button main", onclick: enterKey }, "Enter your key"),
    el("p", { class: "small-text" }, "While ", el("code", {}, "make up"), " runs, ", el("code", {}, ".darkroom/stack.json"), " has one as ", el("code", {}, "api_key"), ".")));
}

function open(models) {
  const parameters = new Parameters(models);
  const take = () => {
    const told = readLink(location.hash, models);
    if (told) parameters.take(told.body, { variations: told.variations });
  };
  take();
  window.onhashchange = take;

  const page = {
    use: (body) => {
      closeDialogs();
      parameters.take(body);
      request.focus();
      toast("The parameters are in the form");
    },
    run: (body) => {
      closeDialogs();
      output.run(body, parameters.variations);
    },
    show: (job) => {
      closeDialogs();
      output.show(job);
    },
    gone: (job) => {
      closeDialogs();
      gallery.forget(job.id);
      if (output.isAbout(job)) output.clear();
    },
  };
  const deeds = deedsOf(client, page);
  const output = new Output(client, feed, deeds, { seen: (job) => request.noteSeed(job.input.seed), refused: (error) => request.refused(error) });
  const request = requestOf(client, parameters, (body, variations) => output.run(body, variations));
  const gallery = new Gallery(client, feed, models, (job) => openDetails(client, job, deeds));
  fill(main, el("h1", { class: "unseen" }, "Playground"), el("div", { class: "bench" }, request.node, output.node), gallery.node);
  connection.addEventListener("back", () => gallery.load());
  feed.start();
  gallery.load();
  request.focus();
}

function closeDialogs() {
  for (const dialog of document.querySelectorAll("dialog[open]")) dialog.close();
}
