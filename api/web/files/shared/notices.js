// Messages: errors with their faults, notes, toasts, and empty states.
import { el, fill } from "./dom.js";
import { seconds } from "./format.js";
import { icon } from "./icons.js";

/** Text with the parts between backticks as code. */
export function prose(text) {
  const parts = String(text).split("`");
  if (parts.length % 2 === 0) return text;
  return parts.map((part, at) => (at % 2 ? el("code", {}, part) : part));
}

/**
 * An error: what is wrong, every fault, and what to do. `act` is a button; `labels` are those of the
 * fields by the name of their parameter.
 */
export function trouble(error, act = null, labels = {}) {
  const again = error.retryAfter ? ` Retry in ${seconds(error.retryAfter)}.` : "";
  return el(
    "div",
    { class: "notice bad", role: "alert" },
    el("strong", {}, error.title || "This did not work"),
    el("p", {}, prose((error.message || String(error)) + again)),
    error.faults?.length > 0 &&
      el(
        "ul",
        {},
        error.faults.map((fault) => el("li", {}, prose(faultWords(fault, labels)))),
      ),
    error.requestId &&
      el("p", { class: "soft small-text" }, "Request ", el("code", {}, error.requestId)),
    act,
  );
}

/** ("/input/seed", "must be …") → "input → seed: must be …"; a parameter has the label of its field. */
export function faultWords({ pointer, message }, labels = {}) {
  const parameter = parameterOf(pointer);
  const place = parameter
    ? (labels[parameter.split(".")[0]] ?? parameter)
    : pointer.split("/").filter(Boolean).join(" → ");
  return place ? `${place}: ${message}` : message;
}

/** ("/query/seed") → "seed"; null for what is no parameter of a query. */
export function parameterOf(pointer) {
  return pointer.startsWith("/query/") ? pointer.slice("/query/".length) : null;
}

/** A note that is not an error: `kind` is "", "wait", "good" or "bad". */
export function note(kind, ...children) {
  return el("div", { class: `notice ${kind}` }, children);
}

/** The placeholder of an empty page or list. */
export function empty(drawing, head, ...children) {
  return el("div", { class: "empty" }, icon(drawing), el("strong", {}, head), children);
}

/** The placeholder while something loads. */
export function loading(words) {
  return el("p", { class: "row soft", role: "status" }, el("span", { class: "spinner" }), words);
}

const SHOWN_MS = 5000;
const toasts = el("div", { class: "toasts", role: "status" });

/** Show a message for a few seconds. */
export function toast(words) {
  // an open dialog hides what lies below it, so the message goes into the dialog
  const place = document.querySelector("dialog[open]") ?? document.body;
  if (toasts.parentNode !== place) place.append(toasts);
  const one = el("div", { class: "toast" }, prose(words));
  fill(toasts, [...toasts.children].slice(-2), one);
  setTimeout(() => one.remove(), SHOWN_MS);
}
