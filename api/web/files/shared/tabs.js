// Tabs after the ARIA practices: arrow keys move, only the selected tab is in the tab order.
import { el, freshId } from "./dom.js";

const MOVES = { ArrowRight: 1, ArrowLeft: -1 };

/**
 * Make tabs of `[{name, label, panel}]`; return {bar, panels, choose(name)}. `chosen(name)` is called
 * when the reader selects another.
 */
export function tabs(label, all, chosen = () => {}) {
  return new Tabs(label, all, chosen);
}

class Tabs {
  constructor(label, all, chosen) {
    this.all = all;
    this.panels = all.map(({ panel }) => panel);
    this.buttons = all.map((one) => tabOf(one, () => this.choose(one.name, chosen)));
    const attributes = { class: "tabs", role: "tablist", "aria-label": label };
    this.bar = el("div", { ...attributes, onkeydown: (event) => this.#move(event) }, this.buttons);
    this.choose(all[0].name);
  }

  choose = (name, tell = () => {}) => {
    for (const [at, one] of this.all.entries()) {
      const isChosen = one.name === name;
      one.panel.hidden = !isChosen;
      this.buttons[at].setAttribute("aria-selected", isChosen);
      this.buttons[at].tabIndex = isChosen ? 0 : -1;
    }
    tell(name);
  };

  #move(event) {
    const step = MOVES[event.key];
    if (!step) return;
    event.preventDefault();
    const now = this.buttons.findIndex((button) => button.tabIndex === 0);
    const next = this.buttons[(now + step + this.buttons.length) % this.buttons.length];
    next.click();
    next.focus();
  }
}

function tabOf({ label, panel }, onclick) {
  const id = freshId("tab");
  panel.id ||= freshId("panel");
  panel.setAttribute("role", "tabpanel");
  panel.setAttribute("aria-labelledby", id);
  return el(
    "button",
    { type: "button", role: "tab", id, "aria-controls": panel.id, onclick },
    label,
  );
}
