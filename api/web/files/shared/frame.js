// The frame of every page: header, navigation, API key, and connection state.
import { at, PATH } from "./address.js";
import { connection } from "./connection.js";
import { button } from "./controls.js";
import { el, fill } from "./dom.js";
import { icon } from "./icons.js";
import { themeSwitch } from "./theme.js";

const PAGES = [
  ["/", "Playground"],
  ["/docs", "API"],
  ["/ops", "Operations"],
];

/**
 * Put the frame around `<main id="main">`. `key` is the page's Key, `enterKey` opens its dialog. A key
 * in the URL fragment is stored at once, also when such a link is opened later.
 */
export function frame({ key, enterKey }) {
  const banner = el("div", { class: "banner", role: "status", hidden: true });
  const head = el(
    "header",
    { class: "head" },
    el(
      "a",
      { class: "brand", href: at("/"), "aria-label": "Darkroom" },
      icon("aperture"),
      el("b", {}, "Darkroom"),
    ),
    el(
      "nav",
      { "aria-label": "Pages" },
      PAGES.map(([href, words]) =>
        el("a", { href: at(href), "aria-current": href === PATH ? "page" : null }, words),
      ),
    ),
    el("div", { class: "tools" }, keyButton(key, enterKey), themeSwitch()),
  );
  const remark = el("div", { class: "remark", role: "status", hidden: true });
  document.body.prepend(
    el("a", { class: "skip", href: "#main" }, "Skip to the content"),
    head,
    banner,
    remark,
  );
  takeLinkedKey(key, remark);
  addEventListener("hashchange", () => takeLinkedKey(key, remark));
  connection.addEventListener("change", () => showConnection(banner));
}

function takeLinkedKey(key, remark) {
  const fault = key.takeLinked();
  remark.hidden = !fault;
  if (fault)
    fill(remark, icon("warning"), el("span", {}, `The key in the link was ignored. ${fault}`));
}

function keyButton(key, enterKey) {
  const control = button("", enterKey, { kind: "small" });
  const show = () => {
    const label = key.value ? `API key ${key.hint}, change` : "Enter key";
    const kind = key.value ? "words mono" : "words";
    fill(control, icon("key"), el("span", { class: kind }, key.value ? key.hint : label));
    // phones show only the icon
    control.title = label;
    control.setAttribute("aria-label", label);
  };
  key.addEventListener("change", show);
  show();
  return control;
}

function showConnection(banner) {
  const { trouble } = connection;
  banner.hidden = trouble === null;
  if (trouble)
    fill(banner, icon("warning"), el("span", {}, `${trouble.message} Retrying automatically…`));
}
