// Formatting of numbers, sizes, durations and times.

const WHOLE = new Intl.NumberFormat("en");
const AGO = new Intl.RelativeTimeFormat("en", { numeric: "auto" });
const MOMENT = new Intl.DateTimeFormat("en", { dateStyle: "medium", timeStyle: "medium" });
const STEPS = [
  ["day", 86400],
  ["hour", 3600],
  ["minute", 60],
];

/** 12345 → "12,345". */
export function number(value) {
  return WHOLE.format(value);
}

/** (1, "job") → "1 job"; (3, "job") → "3 jobs". */
export function count(value, one, many = `${one}s`) {
  return `${number(value)} ${value === 1 ? one : many}`;
}

/** 81234 → "81.2 kB". */
export function bytes(value) {
  if (value < 1000) return `${value} B`;
  if (value < 1e6) return `${(value / 1e3).toFixed(1)} kB`;
  return value < 1e9 ? `${(value / 1e6).toFixed(1)} MB` : `${(value / 1e9).toFixed(1)} GB`;
}

/** Seconds as "4 ms", "0.91 s", "12 s", "3 min 5 s", "2 h 5 min", "3 d 4 h"; "–" for null. */
export function seconds(value) {
  if (value === null || value === undefined) return "–";
  if (value < 0.1) return `${Math.round(value * 1000)} ms`;
  if (value < 10) return `${Number(value.toFixed(2))} s`;
  if (value < 60) return `${Math.round(value)} s`;
  if (value < 3600) return pair(value, 60, "min", 1, "s");
  return value < 86400 ? pair(value, 3600, "h", 60, "min") : pair(value, 86400, "d", 3600, "h");
}

function pair(value, large, largeWord, small, smallWord) {
  const rest = Math.floor((value % large) / small);
  return `${Math.floor(value / large)} ${largeWord}${rest ? ` ${rest} ${smallWord}` : ""}`;
}

/** An API time as "just now", "5 minutes ago", "in 2 hours"; "–" for null. */
export function ago(at, now = Date.now()) {
  if (!at) return "–";
  const away = (Date.parse(at) - now) / 1000;
  for (const [word, size] of STEPS) {
    if (Math.abs(away) >= size) return AGO.format(Math.round(away / size), word);
  }
  return away > 30 ? `in ${Math.round(away)} s` : "just now";
}

/** An API time in full, in the local time zone; "–" for null. */
export function moment(at) {
  return at ? MOMENT.format(new Date(at)) : "–";
}

/** "num_inference_steps" → "Num inference steps". */
export function title(name) {
  const words = name.replaceAll("_", " ");
  return words.charAt(0).toUpperCase() + words.slice(1);
}
