// Quote text for shell, Python and JavaScript, so that no prompt can become code. Pure.

/** Quote for a POSIX shell. */
export function shell(text) {
  return /^[A-Za-z0-9_/:=.,@%+-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`;
}

/** Write a JSON value as Python; long objects over several lines. */
export function python(value, indent = 0) {
  if (value === null) return "None";
  if (value === true) return "True";
  if (value === false) return "False";
  if (typeof value === "string") return pythonText(value);
  if (typeof value === "number") return String(value);
  return composed(value, indent, python, pythonText);
}

/** Write a JSON value as JavaScript. */
export function javascript(value, indent = 0) {
  if (value === null || typeof value !== "object") return scriptText(value);
  return composed(value, indent, javascript, (name) =>
    /^[A-Za-z_$][\w$]*$/.test(name) ? name : scriptText(name),
  );
}

function composed(value, indent, write, writeName) {
  const pad = " ".repeat(indent + 4);
  const items = Array.isArray(value)
    ? value.map((one) => write(one, indent + 4))
    : Object.entries(value).map(([name, one]) => `${writeName(name)}: ${write(one, indent + 4)}`);
  const [open, close] = Array.isArray(value) ? "[]" : "{}";
  if (!items.length) return open + close;
  return `${open}\n${items.map((item) => `${pad}${item},\n`).join("")}${" ".repeat(indent)}${close}`;
}

/** Python reads JSON escapes, except the surrogate pairs of characters beyond 16 bits. */
function pythonText(text) {
  return JSON.stringify(text).replaceAll("\u007f", "\\x7f");
}

/** JSON is JavaScript. */
function scriptText(value) {
  return JSON.stringify(value);
}
