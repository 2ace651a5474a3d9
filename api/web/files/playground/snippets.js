// The same request as code for six clients. Pure.
import { javascript, python, shell } from "../shared/quoting.js";

/** The environment variable that holds the key. */
const VARIABLE = "DARKROOM_API_KEY";
/** The parameters for which `darkroom generate` has an option; others are pairs. */
const PARAMETERS = new Set([
  "aspect_ratio",
  "output_format",
  "output_quality",
  "num_inference_steps",
  "go_fast",
  "megapixels",
  "disable_safety_checker",
  "seed",
]);
/** The options of `darkroom generate` for a member of a job; null if they cannot express its value. */
const JOB_OPTIONS = new Map([
  ["model", (model) => [option("model", model)]],
  ["priority", (priority) => [option("priority", priority)]],
  ["deadline_seconds", (seconds) => [option("deadline_seconds", seconds)]],
  ["metadata", metadataOptions],
  ["retention", retentionOptions],
  ["tags", (tags) => [tags].flat().map((tag) => option("tag", tag))],
  ["fallback_models", (names) => [names].flat().map((name) => option("fallback_model", name))],
]);
/** The owner of models whose id has none, for clients that require one. */
const OWNER = "1min-ai";

/** The clients in order: name, note, and `write({body, variations, url})`. */
export const WAYS = [
  {
    name: "curl",
    label: "curl",
    about: `Returns the job as JSON, with image.url; waits up to a minute for one image. Several images become a batch, whose id is returned at once. The key is taken from $${VARIABLE}.`,
    write: curl,
  },
  {
    name: "python",
    label: "Python",
    about: "Darkroom's client library: it waits, retries where that helps, and never pays twice.",
    write: pythonClient,
  },
  {
    name: "javascript",
    label: "JavaScript",
    about: "Node.js 18 or newer, or any runtime with fetch.",
    write: script,
  },
  {
    name: "darkroom",
    label: "darkroom",
    about: "The command-line program: it saves the image to a file.",
    write: program,
  },
  {
    name: "openai",
    label: "OpenAI",
    about: "OpenAI's Python client with the URL of Darkroom.",
    write: openai,
  },
  {
    name: "replicate",
    label: "Replicate",
    about: "Replicate's Python client with the URL of Darkroom.",
    write: replicate,
  },
];

function curl({ body, variations, url }) {
  const many = variations > 1;
  const lines = [
    `curl -sS ${shell(`${url}/v1/${many ? "batches" : "jobs"}`)}`,
    `-H "Authorization: Bearer $${VARIABLE}"`,
    "-H 'Content-Type: application/json'",
    !many && "-H 'Prefer: wait=60'",
    `-d ${shell(JSON.stringify(many ? batchBody(body, variations) : body, null, 2))}`,
  ];
  return lines.filter(Boolean).join(" \\\n  ");
}

function pythonClient({ body, variations, url }) {
  const head = [
    "import os",
    "",
    "import darkroom",
    "",
    `with darkroom.Client("${url}", os.environ["${VARIABLE}"]) as client:`,
  ];
  const ask = variations > 1 ? pythonBatch(batchBody(body, variations)) : pythonImage(body);
  return [...head, ...ask, ""].join("\n");
}

function pythonImage(body) {
  const { prompt, options } = optionsOf(body);
  return [
    `    image = client.generate(\n        ${python(prompt)},\n${keywords(options)}    )`,
    '    print(image.save("."))',
  ];
}

/** Unlike `generate`, `batches.create` has the parameters of the model in `input`. */
function pythonBatch({ input: { prompt, ...input }, ...options }) {
  const given = keywords({ prompt: String(prompt ?? ""), input, ...options });
  return [
    `    batch = client.batches.create(\n${given}    )`,
    "    for job in client.batches.results(batch.id):",
    "        if job.image:",
    '            print(job.image.save("."))',
  ];
}

/** Write the keyword arguments of a call in Python, one on a line. */
function keywords(options) {
  return Object.entries(options)
    .map(([name, value]) => `        ${name}=${python(value, 8)},\n`)
    .join("");
}

function script({ body, variations, url }) {
  const many = variations > 1;
  const sent = many ? batchBody(body, variations) : body;
  const wait = many ? "" : '        "Prefer": "wait=60",\n';
  return `const answer = await fetch("${url}/v1/${many ? "batches" : "jobs"}", {
    method: "POST",
    headers: {
        "Authorization": \`Bearer \${process.env.${VARIABLE}}\`,
        "Content-Type": "application/json",
${wait}    },
    body: JSON.stringify(${javascript(sent, 4)}),
});
const ${many ? "batch" : "job"} = await answer.json();
if (!answer.ok) throw new Error(${many ? "batch" : "job"}.detail);
console.log(${many ? "batch.id, batch.counts" : "job.status, job.image?.url"});
`;
}

function program({ body, variations, url }) {
  const {
    input: { prompt, ...input },
    ...job
  } = body;
  const text = String(prompt ?? "");
  const members = given(job).map(([name, value]) => [name, JOB_OPTIONS.get(name)?.(value)]);
  const all = [
    text.startsWith("-") ? option("prompt", text) : shell(text),
    ...members.flatMap(([, options]) => options ?? []),
    ...Object.entries(input).map(([name, value]) => parameterOption(name, value)),
    variations > 1 && option("variations", variations),
    option("url", url),
  ];
  const command = `darkroom generate ${all.filter(Boolean).join(" \\\n  ")}`;
  const missing = members.filter(([, options]) => !options);
  return cannotSet("The program", missing) + command;
}

function parameterOption(name, value) {
  if (!PARAMETERS.has(name)) return option("input", `${name}=${pairValue(value)}`);
  return value !== null && option(name, value);
}

function metadataOptions(metadata) {
  const pairs = Object.entries(metadata);
  if (pairs.some(([name]) => name.includes("="))) return null;
  return pairs.map(([name, value]) => option("metadata", `${name}=${value}`));
}

/** Null keeps a job forever, and an image as long as its job. */
function retentionOptions(retention) {
  return ["image_seconds", "record_seconds"]
    .filter((name) => retention[name] !== undefined)
    .map((name) => option(name, retention[name] ?? "forever"));
}

/** Write an option; `=` keeps a value that looks like an option from being one. */
function option(name, value) {
  const word = name.replaceAll("_", "-");
  if (value === true) return `--${word}`;
  if (value === false) return `--no-${word}`;
  const text = typeof value === "string" ? value : JSON.stringify(value);
  return `--${word}${text.startsWith("-") ? "=" : " "}${shell(text)}`;
}

/** Write a value so that the program reads it back: as JSON, or as text that is not JSON. */
function pairValue(value) {
  if (typeof value !== "string") return JSON.stringify(value);
  try {
    JSON.parse(value);
    return JSON.stringify(value);
  } catch {
    return value;
  }
}

/** OpenAI's own names for format and number; everything else goes into the extra body. */
function openai({ body: { model, input: parameters, ...job }, variations, url }) {
  const {
    prompt,
    output_format: format,
    output_quality: quality,
    disable_safety_checker: _,
    ...input
  } = parameters;
  const named = {
    model,
    prompt: prompt ?? "",
    ...(variations > 1 && { n: Math.min(variations, 10) }),
    ...(format && { output_format: format === "jpg" ? "jpeg" : format }),
    ...(quality !== undefined && { output_compression: quality }),
    response_format: "b64_json",
    ...(Object.keys(input).length && { extra_body: input }),
  };
  const words = Object.entries(named)
    .map(([name, value]) => `    ${name}=${python(value, 4)},\n`)
    .join("");
  return `${cannotSet("OpenAI's client", given(job))}import base64
import os
from pathlib import Path

import openai

client = openai.OpenAI(base_url="${url}/openai/v1", api_key=os.environ["${VARIABLE}"])
answer = client.images.generate(
${words})
for number, image in enumerate(answer.data):
    Path(f"image-{number}.${format ?? "png"}").write_bytes(base64.b64decode(image.b64_json))
`;
}

function replicate({ body: { model, input, ...job }, variations, url }) {
  const seeds = variations > 1 && "seed" in input;
  const call = `client.run(
    ${python(model.includes("/") ? model : `${OWNER}/${model}`)},
    input=${python(input, 4)},
)`;
  const one = `output = ${call}
Path("image.${input.output_format ?? "jpg"}").write_bytes(output[0].read())
`;
  const note =
    variations > 1
      ? `# requests one image: run it ${variations} times${seeds ? ", each with another seed" : ""}\n`
      : "";
  return `${cannotSet("Replicate's client", given(job))}import os
from pathlib import Path

import replicate

client = replicate.Client(
    api_token=os.environ["${VARIABLE}"],
    base_url="${url}/replicate",
)
${note}${one}`;
}

/** The members of a job that are set. */
function given(job) {
  return Object.entries(job).filter(([, value]) => value !== null);
}

/** Write a comment that names the members that a client has no way to send; "" if there are none. */
function cannotSet(client, members) {
  if (!members.length) return "";
  const names = members.map(([name]) => JSON.stringify(name)).join(", ");
  return `# ${client} cannot set ${names}. If you need that, use another client.\n`;
}

function batchBody(body, variations) {
  return { priority: "normal", ...body, variations };
}

/** Split a body into the arguments of Darkroom's Python client. */
function optionsOf(body) {
  const {
    input: { prompt, ...input },
    model,
    ...job
  } = body;
  return { prompt: String(prompt ?? ""), options: { model, ...input, ...job } };
}
