// Tabs as the ARIA practices have them: arrows move, only the chosen one is in the order of Tab.
import { el, freshId } from "./dom.js";

const MOVES = { ArrowRight: 1, ArrowLeft: -1 };

/** Makes tabs of `[{name, label, panel}]`; `chosen(name)` is called when another is. */
export function tabs(label, all, chosen = () => {}) {
  const buttons = all.map(({ name, label: words, panel }) => {
    const id = freshId("tab");
    panel.id ||= freshId("panel");
    panel.setAttribute("role", "tabpanel");
    panel.setAttribute("aria-labelledby", id);
    return el(
      "button",
      {
        type: "button",
        role: "tab",
        id,
        "aria-controls": panel.id,
        data: { name },
        onclick: () => choose(name),
      },
      words,
    );
  });
  const bar = el(
    "div",
    { class: "tabs", role: "tablist", "aria-label": label, onkeydown: move },
    buttons,
  );

  function choose(name, tell = true) {
    all.forEach((one, index) => {
      const isChosen = one.name === name;
      one.panel.hidden = !isChosen;
      buttons[index].setAttribute("aria-selected", isChosen);
      buttons[index].tabIndex = isChosen ? 0 : -1;
    });
    if (tell) chosen(name);
  }

  function move(event) {
    const step = MOVES[event.key];
    if (!step) return;
    event.preventDefault();
    const now = buttons.findIndex((button) => button.tabIndex === 0);
    const next = buttons[(now + step + buttons.length) % buttons.length];
    choose(next.dataset.name);
    next.focus();
  }

  choose(all[0].name, false);
  return { bar, panels: all.map((one) => one.panel), choose };
}
