// What stands around every page: its head, the way to the others, the key, and whether anybody answers.
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
 * Puts the frame around `<main id="main">`. `key` is the page's Key, `enterKey` opens its dialog.
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
  document.body.prepend(
    el("a", { class: "skip", href: "#main" }, "Skip to the content"),
    head,
    banner,
  );
  connection.addEventListener("change", () => showConnection(banner));
}

function keyButton(key, enterKey) {
  const control = button("", enterKey, { kind: "small" });
  const show = () => {
    fill(control, icon("key"), key.value ? el("span", { class: "mono" }, key.hint) : "Enter key");
    if (key.value) control.setAttribute("aria-label", `API key ${key.hint}, change`);
    else control.removeAttribute("aria-label");
  };
  key.addEventListener("change", show);
  show();
  return control;
}

function showConnection(banner) {
  const { trouble } = connection;
  banner.hidden = trouble === null;
  if (trouble)
    fill(banner, icon("warning"), el("span", {}, `${trouble.message} Asking again by itself…`));
}
