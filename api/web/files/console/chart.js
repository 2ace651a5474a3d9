// Time series drawn as SVG, as lines or bars, with gaps for missing data and the values at the pointer.
import { el, fill, freshId, svg } from "../shared/dom.js";
import { moment } from "../shared/format.js";

/** The size of the drawing area; it is stretched to the available space. */
const WIDTH = 600;
const HEIGHT = 140;
const CLOCK = new Intl.DateTimeFormat("en", {
  hour: "2-digit",
  minute: "2-digit",
  hourCycle: "h23",
});
const DAY = new Intl.DateTimeFormat("en", {
  weekday: "short",
  hour: "2-digit",
  minute: "2-digit",
  hourCycle: "h23",
});
const TICKS = 4;

/**
 * A chart with a heading. `lines` are `{name, label, tone}`. `show({at, values, closed})` redraws it:
 * `at` are times, `values` a column for each name with null for gaps, `closed` why the gate was closed.
 * `words` formats a number, `round` rounds up the end of the scale. With `bars` every value is a bar, and the
 * legend has the sum instead of the latest value; `time` and `tick` format a time there and on the axis.
 */
export class Chart {
  #heading;
  #lines;
  #words;
  #round;
  #bars;
  #time;
  #tick;
  #drawing;
  #legend = el("ul", { class: "legend" });
  #reading = el("p", { class: "reading small-text", hidden: true });
  #most = el("span", {});
  #times = el("div", { class: "times soft small-text" });
  #cursor = svg("line", { class: "cursor", y1: 0, y2: HEIGHT, hidden: true });
  #data = null;
  #index = null;
  node;

  constructor({ heading, lines, words, round = nice, bars = false, time = moment, tick = null }) {
    this.#round = round;
    this.#bars = bars;
    this.#time = time;
    this.#tick = tick;
    this.#heading = heading;
    this.#lines = lines;
    this.#words = words;
    const id = freshId("chart");
    this.#drawing = svg("svg", {
      viewBox: `0 0 ${WIDTH} ${HEIGHT}`,
      preserveAspectRatio: "none",
      role: "img",
      tabindex: 0,
      class: "chart",
    });
    this.#drawing.addEventListener("pointermove", (event) => this.#point(event));
    this.#drawing.addEventListener("pointerleave", () => this.#read(null));
    this.#drawing.addEventListener("keydown", (event) => this.#step(event));
    this.#drawing.addEventListener("blur", () => this.#read(null));
    const field = el(
      "div",
      { class: "chart-field" },
      el("span", { class: "most soft small-text", "aria-hidden": "true" }, this.#most),
      this.#drawing,
    );
    this.node = el(
      "figure",
      { class: "card figure", "aria-labelledby": id },
      el("figcaption", {}, el("h3", { id }, heading), this.#legend),
      field,
      this.#times,
      this.#reading,
    );
  }

  show(data) {
    this.#data = data;
    const most = this.#highest();
    fill(
      this.#drawing,
      this.#bands(),
      this.#grid(),
      this.#lines.map((line, at) =>
        this.#bars ? this.#barsOf(line, at, most) : this.#line(line, most),
      ),
      this.#cursor,
    );
    fill(this.#most, this.#words(most));
    fill(
      this.#legend,
      this.#lines.map((line) => this.#entry(line)),
    );
    this.#drawTimes();
    this.#drawing.setAttribute("aria-label", this.#spoken(most));
    this.#read(this.#index);
  }

  #highest() {
    const all = this.#lines
      .flatMap(({ name }) => this.#data.values[name])
      .filter((value) => value !== null);
    return this.#round(Math.max(0, ...all));
  }

  #x(index) {
    const { length } = this.#data.at;
    if (this.#bars) return ((index + 0.5) / length) * WIDTH;
    return (index / Math.max(length - 1, 1)) * WIDTH;
  }

  /** The bars of one line; those of several stand side by side. */
  #barsOf({ name, tone }, at, most) {
    const slot = WIDTH / this.#data.at.length;
    const width = (slot * 0.8) / this.#lines.length;
    return this.#data.values[name].map((value, index) => {
      const height = ((value ?? 0) / most) * (HEIGHT - 6);
      const x = index * slot + slot * 0.1 + at * width;
      return value && svg("rect", { class: `bar ${tone}`, x, y: HEIGHT - height, width, height });
    });
  }

  /** The number of a line for its legend. */
  #summary(name) {
    const known = this.#data.values[name].filter((value) => value !== null);
    if (!known.length) return null;
    return this.#bars ? known.reduce((all, one) => all + one, 0) : known.at(-1);
  }

  #line({ name, tone }, most) {
    const values = this.#data.values[name];
    let path = "";
    values.forEach((value, index) => {
      if (value === null) return;
      const place = `${this.#x(index).toFixed(1)} ${(HEIGHT - 2 - (value / most) * (HEIGHT - 6)).toFixed(1)}`;
      const before = index > 0 && values[index - 1] !== null;
      const after = index < values.length - 1 && values[index + 1] !== null;
      path += before ? `L${place}` : after ? `M${place}` : `M${place}h0.01`;
    });
    return svg("path", { d: path, class: `line ${tone}`, "vector-effect": "non-scaling-stroke" });
  }

  /** The periods without new provider calls. */
  #bands() {
    const { closed } = this.#data;
    const half = WIDTH / Math.max(closed.length - 1, 1) / 2;
    const found = [];
    closed.forEach((reason, index) => {
      if (!reason) return;
      const last = found.at(-1);
      if (last && last.to === index - 1) last.to = index;
      else found.push({ from: index, to: index });
    });
    return found.map(({ from, to }) =>
      svg("rect", {
        class: "band",
        x: this.#x(from) - half,
        y: 0,
        width: this.#x(to) - this.#x(from) + 2 * half,
        height: HEIGHT,
      }),
    );
  }

  #grid() {
    return [0.25, 0.5, 0.75].map((share) =>
      svg("line", {
        class: "grid",
        x1: 0,
        x2: WIDTH,
        y1: share * HEIGHT,
        y2: share * HEIGHT,
        "vector-effect": "non-scaling-stroke",
      }),
    );
  }

  #entry({ name, label, tone }) {
    const last = this.#summary(name);
    return el(
      "li",
      {},
      el("i", { class: `swatch ${tone}` }),
      label,
      el("b", {}, last === null ? "–" : this.#words(last)),
    );
  }

  #drawTimes() {
    const { at } = this.#data;
    const isLong = at.at(-1) - at[0] > 18 * 3600 * 1000;
    const tick = this.#tick ?? ((time) => (isLong ? DAY : CLOCK).format(time));
    const last = this.#bars ? Math.min(TICKS, at.length - 1) : TICKS;
    const marks = Array.from(
      { length: last + 1 },
      (_, index) => at[Math.round((index / Math.max(last, 1)) * (at.length - 1))],
    );
    fill(
      this.#times,
      marks.map((time) => el("span", {}, tick(time))),
    );
  }

  #spoken(most) {
    const numbers = this.#lines.map(
      ({ name, label }) => `${label} ${this.#words(this.#summary(name) ?? 0)}`,
    );
    return `${this.#heading}: ${numbers.join(", ")} ${this.#bars ? "in total" : "latest"}; the scale ends at ${this.#words(most)}. Use the arrow keys to read the values.`;
  }

  #point(event) {
    const box = this.#drawing.getBoundingClientRect();
    const share = (event.clientX - box.left) / box.width;
    const { length } = this.#data.at;
    this.#read(this.#bars ? Math.floor(share * length) : Math.round(share * (length - 1)));
  }

  #step(event) {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!step || !this.#data) return;
    event.preventDefault();
    this.#read((this.#index ?? this.#data.at.length) + step);
  }

  /** Show the values at an index, or the latest ones. */
  #read(index) {
    const there = index !== null && this.#data !== null;
    this.#index = there ? Math.min(Math.max(index, 0), this.#data.at.length - 1) : null;
    this.#cursor.setAttribute("visibility", there ? "visible" : "hidden");
    this.#reading.hidden = !there;
    this.#times.hidden = there;
    if (!there) return;
    const { at, values, closed } = this.#data;
    const x = this.#x(this.#index);
    this.#cursor.setAttribute("x1", x);
    this.#cursor.setAttribute("x2", x);
    const readings = this.#lines.map(
      ({ name, label }) =>
        `${label} ${values[name][this.#index] === null ? "not known" : this.#words(values[name][this.#index])}`,
    );
    fill(
      this.#reading,
      `${this.#time(at[this.#index])}: ${readings.join(" · ")}${closed[this.#index] ? ` · no new calls (${closed[this.#index].replaceAll("_", " ")})` : ""}`,
    );
  }
}

/** Round ends of a time scale, in seconds; beyond these, whole days. */
const TIMES = [
  0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14_400, 28_800,
];

/** Round a duration up. */
export function niceTime(value) {
  return TIMES.find((time) => time >= value) ?? Math.ceil(value / 86_400) * 86_400;
}

/** Round a number up. */
function nice(value) {
  if (value <= 0) return 1;
  const size = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 2.5, 5, 10].map((step) => step * size).find((step) => step >= value) ?? value;
}
