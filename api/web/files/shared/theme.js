// The switch between light and dark; `theme_init.js` applies it before the first paint.
import { iconButton } from "./controls.js";
import { fill } from "./dom.js";
import { icon } from "./icons.js";

const NAME = "darkroom.theme";
const root = document.documentElement;

/** A button that switches between light and dark. */
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
    // without storage the choice lasts until the page closes
  }
  root.dataset.theme = next;
}
