// "Run it": one operation, with what the reader fills in, asked for real.
import { codeBlock } from "../parts/code.js";
import { el, fill, freshId } from "../parts/dom.js";
import { icon } from "../parts/icons.js";
import { shell } from "../parts/quoting.js";
import { trouble } from "../parts/say.js";
import { answerOf } from "./answer.js";
import { typeWords } from "./document.js";

const WRITES = new Set(["POST", "PUT", "PATCH", "DELETE"]);

/**
 * Makes the form of an operation. `reader` has the `client` for it, the `document`, what is `remembered` for a
 * path, and `remember(data)` for what an answer tells.
 */
export function attemptOf(operation, reader) {
  const inputs = operation.parameters.map((one) => inputOf(one, reader, show));
  const body = operation.bodies.length ? bodyField(operation, show) : null;
  const line = codeBlock("curl line", "", { wrap: true });
  const told = el("div", { "aria-live": "polite" });
  let stop = new AbortController();
  const run = el("button", { type: "submit", class: "button main" }, icon("play"), "Run it");
  const halt = el(
    "button",
    { type: "button", class: "button", hidden: true, onclick: () => stop.abort() },
    icon("stop"),
    "Stop",
  );
  const node = el(
    "form",
    {
      class: "attempt stack tight",
      novalidate: true,
      "aria-label": `Run ${operation.method} ${operation.path}`,
      onsubmit: submit,
    },
    el(
      "div",
      { class: "filters" },
      inputs.map((one) => one.node),
    ),
    body?.node,
    line.node,
    el(
      "div",
      { class: "row" },
      run,
      halt,
      WRITES.has(operation.method) &&
        el("span", { class: "soft small-text" }, "It is done for real."),
    ),
    told,
  );
  show();
  return node;

  function request() {
    const valued = inputs.filter(({ value }) => value !== "");
    const of = (place) =>
      Object.fromEntries(
        valued.filter((one) => one.place === place).map((one) => [one.name, one.value]),
      );
    const path = operation.path.replace(/{(\w+)}/g, (whole, name) =>
      of("path")[name] ? encodeURIComponent(of("path")[name]) : whole,
    );
    const headers = { ...of("header"), ...(body && { "Content-Type": body.media }) };
    return { path, query: of("query"), headers, body: body?.text };
  }

  function show() {
    line.set(curlOf(operation, request()));
  }

  async function submit(event) {
    event.preventDefault();
    stop = new AbortController();
    [run.disabled, halt.hidden] = [true, false];
    try {
      const { path, ...options } = request();
      const answer = await reader.client.send(operation.method, path, {
        ...options,
        signal: stop.signal,
      });
      await answerOf(answer, told, reader.remember);
    } catch (error) {
      if (error.name !== "AbortError") fill(told, trouble(error));
    }
    [run.disabled, halt.hidden] = [false, true];
  }
}

function inputOf({ name, in: place, required, schema = {}, description = "" }, reader, changed) {
  const id = freshId("try");
  const options = schema.enum && [
    el("option", { value: "" }, "–"),
    ...schema.enum.map((one) => el("option", { value: String(one) }, String(one))),
  ];
  const input = options
    ? el("select", { id, onchange: changed }, options)
    : el("input", {
        id,
        placeholder: typeWords(reader.document, schema),
        spellcheck: "false",
        oninput: changed,
      });
  input.value = place === "path" ? reader.remembered(name) : "";
  if (description) input.title = description.replaceAll("`", "");
  const words = [
    el("code", {}, name),
    required ? " (required)" : "",
    place === "path" ? "" : el("span", { class: "soft" }, ` ${place}`),
  ];
  return {
    node: el("div", { class: "field" }, el("label", { for: id }, words), input),
    name,
    place,
    get value() {
      return input.value;
    },
  };
}

function bodyField({ bodies }, changed) {
  const id = freshId("body");
  const ways = bodies.flatMap(({ media, examples }) =>
    examples.map(([name, value]) => ({
      media,
      name: bodies.length > 1 ? `${media}: ${name}` : name,
      value,
    })),
  );
  const text = el("textarea", {
    id,
    class: "mono",
    rows: 8,
    spellcheck: "false",
    oninput: changed,
  });
  const choose = el(
    "select",
    { class: "narrow", "aria-label": "Example", hidden: ways.length < 2, onchange: take },
    ways.map(({ name }, index) => el("option", { value: index }, name)),
  );
  const way = () => ways[Number(choose.value) || 0];

  function take() {
    const { media, value } = way();
    text.value = media.includes("ndjson")
      ? `${JSON.stringify({ input: { prompt: "A lighthouse" } })}\n`
      : JSON.stringify(value, null, 2);
    changed();
  }

  text.value = JSON.stringify(ways[0].value, null, 2);
  const node = el(
    "div",
    { class: "field" },
    el("div", { class: "row apart" }, el("label", { for: id, class: "label" }, "Body"), choose),
    text,
  );
  return {
    node,
    get text() {
      return text.value;
    },
    get media() {
      return way().media;
    },
  };
}

function curlOf({ method, scopes }, { path, query, headers, body }) {
  const address = new URL(path, location.origin);
  for (const [name, value] of Object.entries(query)) address.searchParams.set(name, value);
  const variable = scopes.some((one) => one.startsWith("ops:"))
    ? "DARKROOM_OPS_KEY"
    : "DARKROOM_API_KEY";
  return [
    `curl -sS ${method === "GET" ? "" : `-X ${method} `}${shell(decodeURI(address.href))}`,
    scopes.length > 0 && `-H "Authorization: Bearer $${variable}"`,
    ...Object.entries(headers).map(([name, value]) => `-H ${shell(`${name}: ${value}`)}`),
    body !== undefined && `--data-binary ${shell(body)}`,
  ]
    .filter(Boolean)
    .join(" \\\n  ");
}
