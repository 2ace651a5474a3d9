// Read the OpenAPI document. Pure.

const METHODS = new Set(["get", "post", "put", "patch", "delete"]);
const DEPTH_MOST = 6;

/** Return the operations by tag, in the document's order: [[tag, [operation, …]], …]. */
export function operationsByTag(document) {
  const tags = new Map();
  for (const operation of operationsOf(document)) {
    if (!tags.has(operation.tag)) tags.set(operation.tag, []);
    tags.get(operation.tag).push(operation);
  }
  return [...tags];
}

function operationsOf(document) {
  return Object.entries(document.paths).flatMap(([path, item]) =>
    Object.keys(item)
      .filter((method) => METHODS.has(method))
      .map((method) => operationOf(document, path, method, item[method])),
  );
}

function operationOf(document, path, method, written) {
  const [first, ...rest] = (written.description ?? written.summary ?? "").split("\n\n");
  return {
    id: written.operationId,
    method: method.toUpperCase(),
    path,
    tag: written.tags?.[0] ?? "other",
    brief: oneLine(first),
    more: rest.map(oneLine),
    scopes: (written.security ?? []).flatMap((way) => way.key ?? []),
    parameters: written.parameters ?? [],
    bodies: Object.entries(written.requestBody?.content ?? {}).map(([media, one]) =>
      bodyOf(document, media, one),
    ),
    answers: Object.entries(written.responses ?? {}).map(([status, one]) => ({ status, ...one })),
  };
}

function oneLine(text) {
  return text.replaceAll("\n", " ").trim();
}

function bodyOf(document, media, { schema, examples = {} }) {
  const named = Object.entries(examples).map(([name, { value }]) => [name, value]);
  return {
    media,
    schema,
    examples: named.length ? named : [["example", exampleOf(document, schema)]],
  };
}

/** Resolve a reference; return the schema itself if it is none. */
export function resolved(document, schema) {
  if (!schema?.$ref) return schema ?? {};
  return (
    schema.$ref
      .replace(/^#\//, "")
      .split("/")
      .reduce((at, step) => at?.[step], document) ?? {}
  );
}

/** The name of a referenced schema; "" if it has none. */
export function nameOf(schema) {
  return schema?.$ref?.split("/").at(-1) ?? "";
}

/** Build an example value of a schema; objects get only required members. */
export function exampleOf(document, schema, depth = 0) {
  const whole = resolved(document, schema);
  const given = whole.default ?? whole.const ?? whole.examples?.[0] ?? whole.enum?.[0];
  if (given !== undefined) return given;
  const ways = whole.anyOf ?? whole.oneOf ?? whole.allOf;
  if (ways) return exampleOf(document, ways[0], depth + 1);
  if (depth > DEPTH_MOST) return null;
  return EXAMPLES[typeOf(whole)]?.(document, whole, depth) ?? null;
}

const EXAMPLES = {
  object: (document, { properties = {}, required = [] }, depth) =>
    Object.fromEntries(
      required.map((name) => [name, exampleOf(document, properties[name], depth + 1)]),
    ),
  array: (document, { items, minItems = 0 }, depth) =>
    minItems ? [exampleOf(document, items, depth + 1)] : [],
  string: (_document, { format }) =>
    ({ "date-time": "2026-01-31T12:00:00Z", uri: "https://example.com/hook" })[format] ?? "text",
  integer: (_document, { minimum = 1 }) => minimum,
  number: (_document, { minimum = 1 }) => minimum,
  boolean: () => false,
};

function typeOf({ type, properties }) {
  if (Array.isArray(type)) return type.find((one) => one !== "null");
  return type ?? (properties ? "object" : "string");
}

/** Describe the values of a schema: "integer, 1 to 4", "one of webp, jpg, png", "list of Job". */
export function typeWords(document, schema) {
  const name = nameOf(schema);
  const whole = resolved(document, schema);
  const ways = whole.anyOf ?? whole.oneOf;
  if (ways) return ways.map((way) => typeWords(document, way)).join(" or ");
  if (whole.enum) return `one of ${whole.enum.join(", ")}`;
  if (whole.const !== undefined) return `always ${JSON.stringify(whole.const)}`;
  if (name) return name;
  if (typeOf(whole) === "array") return `list of ${typeWords(document, whole.items ?? {})}`;
  return [typeOf(whole), whole.format && `(${whole.format})`, rangeWords(whole)]
    .filter(Boolean)
    .join(" ");
}

function rangeWords({ minimum, maximum, minLength, maxLength }) {
  const between = (least, most, unit) => {
    if (least === undefined && most === undefined) return "";
    if (least === undefined) return `up to ${most}${unit}`;
    return most === undefined ? `from ${least}${unit}` : `${least} to ${most}${unit}`;
  };
  return between(minimum, maximum, "") || between(minLength, maxLength, " characters");
}
