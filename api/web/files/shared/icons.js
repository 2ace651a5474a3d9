// Line icons on a grid of 24 by 24.
import { svg } from "./dom.js";

const STROKES = {
  aperture: [
    "M12 3a9 9 0 1 0 0 18a9 9 0 1 0 0-18",
    "M14.3 8.5 20 18M9.7 8.5h11M7.4 12l5.7-9.5M9.7 15.5 4 6M14.3 15.5H3.3M16.6 12l-5.7 9.5",
  ],
  key: ["M15 3a6 6 0 1 1-5.2 9L4 17.8V21h3.5v-2.5H10V16h2l1.5-1.5", "M16.5 7.5h.01"],
  sun: [
    "M12 7.5a4.5 4.5 0 1 0 0 9a4.5 4.5 0 1 0 0-9",
    "M12 2v2M12 20v2M4.9 4.9l1.4 1.4M17.7 17.7l1.4 1.4M2 12h2M20 12h2M4.9 19.1l1.4-1.4M17.7 6.3l1.4-1.4",
  ],
  moon: ["M20 14.5A8.5 8.5 0 0 1 9.5 4a8.5 8.5 0 1 0 10.5 10.5z"],
  copy: ["M9 9h11v11H9z", "M5 15H4V4h11v1"],
  check: ["M4 12.5l5 5L20 6.5"],
  close: ["M6 6l12 12M18 6 6 18"],
  lock: ["M5 11h14v10H5z", "M8 11V7a4 4 0 0 1 8 0v4"],
  unlock: ["M5 11h14v10H5z", "M8 11V7a4 4 0 0 1 7.7-1.5"],
  dice: ["M4 4h16v16H4z", "M8.5 8.5h.01M15.5 8.5h.01M12 12h.01M8.5 15.5h.01M15.5 15.5h.01"],
  play: ["M7 4.5v15l12-7.5z"],
  stop: ["M6 6h12v12H6z"],
  again: ["M20 11a8 8 0 1 0-.8 5", "M20 4v7h-7"],
  download: ["M12 3v12M7 10.5l5 5 5-5", "M4 20h16"],
  bin: ["M4 7h16M9 7V4h6v3M6 7l1 13h10l1-13"],
  link: [
    "M10 14a4.5 4.5 0 0 0 6.4 0l3-3a4.5 4.5 0 0 0-6.4-6.4l-1 1",
    "M14 10a4.5 4.5 0 0 0-6.4 0l-3 3a4.5 4.5 0 0 0 6.4 6.4l1-1",
  ],
  code: ["M8 7l-5 5 5 5M16 7l5 5-5 5"],
  image: ["M3 4h18v16H3z", "M3 16l5-5 4.5 4.5L15 13l6 6M15.5 8.5h.01"],
  pencil: ["M4 20l1-4L16 5l3 3L8 19z"],
  search: ["M11 4a7 7 0 1 0 0 14a7 7 0 1 0 0-14", "M16 16l4.5 4.5"],
  warning: ["M12 4 2.5 20h19z", "M12 10v4M12 17h.01"],
  pause: ["M8 5v14M16 5v14"],
  send: ["M4 12h15M13 6l6 6-6 6"],
  clock: ["M12 3a9 9 0 1 0 0 18a9 9 0 1 0 0-18", "M12 7v5l3.5 2"],
};

/** Draw an icon next to text; it is hidden from screen readers. */
export function icon(name) {
  const strokes = STROKES[name].map((d) => svg("path", { d }));
  return svg(
    "svg",
    {
      viewBox: "0 0 24 24",
      class: "icon",
      fill: "none",
      stroke: "currentColor",
      "stroke-width": 1.8,
      "stroke-linecap": "round",
      "stroke-linejoin": "round",
      "aria-hidden": true,
    },
    strokes,
  );
}
