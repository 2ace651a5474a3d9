// The switch between light and dark; `theme_init.js` does what it says before anything is drawn.
import { iconButton } from "./controls.js";
import { fill } from "./dom.js";
import { icon } from "./icons.js";

const NAME = "darkroom.theme";
const root = document.documentElement;

/** A button that turns the page dark, or light. */
export function themeSwitch() {
  const control = iconButton("sun", "Light page", turn, { kind: "quiet" });
  const show = () => {
    const isDark = root.dataset.theme === "dark";
    fill(control, icon(isDark ? "sun" : "moon"));
    control.title = isDark ? "Light page" : "Dark page";
    control.setAttribute("aria-label", control.title);
  };
  new MutationObserver(show).observe(root, { attributeFilter: ["data-theme"] });
  show();
  return control;
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
