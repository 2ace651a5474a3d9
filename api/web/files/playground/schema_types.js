// The type of each model parameter, read from the JSON Schema. Pure.

const RATIO = /^\d+:\d+$/;
/** A range with more steps than this gets a text field instead of a slider. */
const SLIDE_MOST = 1000;
const LONG_TEXT = 200;

/** Return the parameters of a model in the order of the schema, each as `shapeOf` returns it. */
export function shapesOf(schema) {
  const required = new Set(schema.required ?? []);
  return Object.entries(schema.properties ?? {}).map(([name, one]) =>
    shapeOf(name, one, schema, required.has(name)),
  );
}

function shapeOf(name, written, root, isRequired) {
  const { plain, isNullable } = withoutNull(resolved(written, root), root);
  const whole = { ...plain, ...resolved(written, root) };
  return {
    name,
    kind: kindOf(name, plain),
    isRequired,
    isNullable,
    title: whole.title ?? name,
    about: whole.description ?? "",
    byDefault: whole.default ?? null,
    choices: plain.enum ?? (plain.const === undefined ? [] : [plain.const]),
    least: plain.minimum ?? null,
    most: plain.maximum ?? null,
    isWhole: plain.type === "integer",
    longest: plain.maxLength ?? null,
  };
}

function resolved(schema, root) {
  if (!schema.$ref) return schema;
  const target =
    schema.$ref
      .replace(/^#\//, "")
      .split("/")
      .reduce((at, step) => at?.[step], root) ?? {};
  return { ...target, ...schema, $ref: undefined };
}

function withoutNull(schema, root) {
  const ways = (schema.anyOf ?? schema.oneOf ?? []).map((way) => resolved(way, root));
  const real = ways.filter((way) => way.type !== "null");
  if (real.length === 1) return { plain: real[0], isNullable: real.length < ways.length };
  return { plain: schema, isNullable: false };
}

function kindOf(name, plain) {
  if (plain.enum?.every((one) => RATIO.test(one))) return "ratio";
  if (plain.enum || plain.const !== undefined) return "choice";
  if (plain.type === "boolean") return "switch";
  if (plain.type === "integer" && name === "seed") return "seed";
  if (plain.type === "integer" || plain.type === "number") return kindOfNumber(plain);
  if (plain.type === "string") return (plain.maxLength ?? Infinity) > LONG_TEXT ? "long" : "text";
  return "json";
}

function kindOfNumber({ minimum, maximum, type }) {
  const span = maximum - minimum;
  return type === "integer" && span <= SLIDE_MOST ? "slider" : "number";
}

/** Convert text of a URL or a field; undefined if it does not fit the type. */
export function readText(shape, text) {
  if (["text", "long", "ratio", "choice"].includes(shape.kind)) {
    return (
      shape.choices.find((one) => String(one) === text) ?? (shape.choices.length ? undefined : text)
    );
  }
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
