// The switch between light and dark; `theme_first.js` does what it says before anything is drawn.
import { el, fill } from "./dom.js";
import { icon } from "./icons.js";

const NAME = "darkroom.theme";
const root = document.documentElement;

/** A button that turns the page dark, or light. */
export function themeSwitch() {
  const button = el("button", { type: "button", class: "button quiet only", onclick: turn });
  const show = () => {
    const isDark = root.dataset.theme === "dark";
    fill(button, icon(isDark ? "sun" : "moon"));
    button.setAttribute("aria-label", isDark ? "Light page" : "Dark page");
    button.title = isDark ? "Light" : "Dark";
  };
  new MutationObserver(show).observe(root, { attributeFilter: ["data-theme"] });
  show();
  return button;
}

function turn() {
  const next = root.dataset.theme === "dark" ? "light" : "dark";
  try {
    localStorage.setItem(NAME, next);
  } catch {
    // where nothing can be kept, nothing is
  }
  root.dataset.theme = next;
}
