// The seed: open, the service chooses another for each picture; locked, it is the one that is shown.
import { el, fill, freshId } from "../parts/dom.js";
import { icon } from "../parts/icons.js";
import { labelled } from "./label.js";

/** Fits 31 bits, as the seeds that the service chooses. */
const CHOSEN_MOST = 2 ** 31;

/** Chooses a seed. */
export function newSeed() {
  return crypto.getRandomValues(new Uint32Array(1))[0] % CHOSEN_MOST;
}

export function seedField(shape, changed) {
  const id = freshId("field");
  let isLocked = false;
  let last = null;
  const input = el("input", {
    type: "number",
    id,
    min: shape.least,
    max: shape.most,
    step: 1,
    "aria-describedby": `${id}-about`,
    oninput: typed,
  });
  const lock = el("button", {
    type: "button",
    class: "button",
    onclick: () => {
      turn(!isLocked);
      changed();
    },
  });
  const vary = el(
    "button",
    {
      type: "button",
      class: "button",
      title: "Another seed, and keep it",
      onclick: () => {
        write(newSeed());
        changed();
      },
    },
    icon("dice"),
    "New",
  );

  function typed() {
    turn(input.value !== "", false);
    changed();
  }

  function turn(locked, withValue = true) {
    isLocked = locked;
    if (withValue) input.value = locked ? input.value || (last ?? newSeed()) : "";
    input.placeholder = last === null ? "random" : `random, last ${last}`;
    lock.setAttribute("aria-pressed", locked);
    fill(lock, icon(locked ? "lock" : "unlock"), locked ? "Locked" : "Lock");
  }

  function write(value) {
    const isSeed = value !== null && value !== undefined;
    input.value = isSeed ? value : "";
    turn(isSeed, false);
  }

  turn(false);
  return {
    node: labelled(shape, id, el("div", { class: "row seed" }, input, lock, vary)),
    read: () => (isLocked && input.value !== "" ? input.valueAsNumber : undefined),
    write,
    /** Notes the seed of the last picture: to lock is to keep it. */
    note: (seed) => {
      last = seed;
      turn(isLocked, false);
    },
  };
}
