// The result of an estimate, in words.
import { el } from "../shared/dom.js";
import { count, number, seconds } from "../shared/format.js";
import { note, prose } from "../shared/notices.js";

/** Describe the response to a `dry_run`. */
export function estimateText(estimate, variations) {
  if (!estimate.would_accept) {
    const head = el("strong", {}, "It would be refused now");
    return note("wait", head, el("p", {}, prose(estimate.refusal.detail)));
  }
  const words = [
    costWords(estimate, variations),
    queueWords(estimate),
    estimate.reused_from && `It would reuse the image of ${estimate.reused_from}.`,
  ];
  const head = el("strong", {}, "It would be accepted");
  return note("good", head, el("p", {}, words.filter(Boolean).join(" ")));
}

function costWords({ price }, variations) {
  if (!price) return "The operator has not set prices.";
  return `It costs about ${count(price.credits * variations, "credit")}, according to the operator's price table.`;
}

function queueWords({ position, eta_seconds: eta }) {
  const begin =
    eta === null ? "the start cannot be estimated now" : `starts in about ${seconds(eta)}`;
  return `${number(position ?? 0)} of your jobs ahead of it, ${begin}.`;
}
