// What would become of a request, in words.
import { el } from "../shared/dom.js";
import { number, seconds } from "../shared/format.js";
import { note } from "../shared/notices.js";

/** Tells the answer to a `dry_run`. */
export function estimateText(told, variations) {
  if (!told.would_accept) {
    const head = el("strong", {}, "It would be refused now");
    return note("wait", head, el("p", {}, told.refusal.detail));
  }
  const words = [
    costWords(told, variations),
    queueWords(told),
    told.reused_from && `It would reuse the image of ${told.reused_from}.`,
  ];
  const head = el("strong", {}, "It would be accepted");
  return note("good", head, el("p", {}, words.filter(Boolean).join(" ")));
}

function costWords({ price }, variations) {
  if (!price) return "The operator has not set prices.";
  return `It costs about ${number(price.credits * variations)} credits, according to the operator's price table.`;
}

function queueWords({ position, eta_seconds: eta }) {
  const begin =
    eta === null ? "the start cannot be estimated now" : `starts in about ${seconds(eta)}`;
  return `${number(position ?? 0)} of your jobs ahead of it, ${begin}.`;
}
