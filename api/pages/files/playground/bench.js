// The playground of one key: the request, what comes of it, and the gallery, which know each other here.
import { connection } from "../parts/connection.js";
import { el } from "../parts/dom.js";
import { toast } from "../parts/say.js";
import { deedsOf } from "./deeds.js";
import { openDetails } from "./details.js";
import { Feed } from "./feed.js";
import { Gallery } from "./gallery.js";
import { Output } from "./output.js";
import { Parameters, readLink } from "./parameters.js";
import { requestOf } from "./request.js";

/** Gives {nodes, begin, close}: `begin` once the nodes are on the page, `close` to leave nothing running. */
export function benchOf(client, models) {
  const stop = new AbortController();
  const feed = new Feed(client);
  const parameters = new Parameters(models);
  const deeds = deedsOf(client, { use, run, show, gone });
  const output = new Output(client, feed, deeds, {
    seen: (job) => request.noteSeed(job.input.seed),
    refused: (error) => request.refused(error),
  });
  const request = requestOf(client, parameters, (body, count) => output.run(body, count));
  const gallery = new Gallery(client, feed, models, (job) => openDetails(client, job, deeds));

  function takeLink() {
    const told = readLink(location.hash, models);
    if (told) parameters.take(told.body, { variations: told.variations });
  }

  function use(body) {
    closeDialogs();
    parameters.take(body);
    request.focus();
    toast("The parameters are in the form");
  }

  function run(body) {
    closeDialogs();
    output.run(body, parameters.variations);
  }

  function show(job) {
    closeDialogs();
    output.show(job);
  }

  function gone(job) {
    closeDialogs();
    gallery.forget(job.id);
    if (output.isAbout(job)) output.clear();
  }

  function begin() {
    const { signal } = stop;
    addEventListener("hashchange", takeLink, { signal });
    connection.addEventListener("back", () => gallery.load(), { signal });
    takeLink();
    feed.start();
    gallery.load();
    request.focus();
  }

  function close() {
    stop.abort();
    feed.stop();
    output.clear();
    closeDialogs();
  }

  const bench = el("div", { class: "bench" }, request.node, output.node);
  return { nodes: [bench, gallery.node], begin, close };
}

function closeDialogs() {
  for (const dialog of document.querySelectorAll("dialog[open]")) dialog.close();
}
