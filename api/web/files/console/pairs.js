// The text of a field that holds pairs of metadata. Pure.

const PREFIX = "metadata.";
export const PAIRS_FAULT =
  "must be name=value, such as order=A-17, or several such pairs separated by commas or line breaks";

/**
 * Read `order=A-17, size=L` as the parameters `metadata.order` and `metadata.size`. Spaces around names
 * and values, and a leading `metadata.`, are dropped. Lines, if there are several, may have commas in
 * their values. Text without pairs becomes the parameter `metadata`, which the API refuses.
 */
export function parsePairs(text) {
  const parts = text
    .split(text.includes("\n") ? "\n" : ",")
    .map((part) => part.trim())
    .filter(Boolean);
  const pairs = parts.map(parsePair);
  const names = new Set(pairs.map((pair) => pair?.[0]));
  if (pairs.includes(null) || names.size < pairs.length) return { metadata: text.trim() };
  return Object.fromEntries(pairs);
}

function parsePair(part) {
  const [written, ...value] = part.split("=");
  const name = written.trim().replace(/^metadata\./, "");
  return name && value.length ? [`${PREFIX}${name}`, value.join("=").trim()] : null;
}

/** Write the pairs of a query as the text of a field. */
export function formatPairs(query) {
  const pairs = Object.entries(query)
    .filter(([name]) => name.startsWith(PREFIX))
    .map(([name, value]) => `${name.slice(PREFIX.length)}=${value}`);
  if (!pairs.length) return query.metadata ?? "";
  return pairs.some((pair) => pair.includes(",")) ? `${pairs.join("\n")}\n` : pairs.join(", ");
}
