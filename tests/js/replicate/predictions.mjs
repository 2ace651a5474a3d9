// What Replicate's documentation shows for its JavaScript package, and Vercel's AI SDK for Replicate,
// against the service that is told on the input. Prints one line of JSON with what came back.
import { readFileSync } from "node:fs";
import { createReplicate } from "@ai-sdk/replicate";
import Replicate from "replicate";

const { auth, baseUrl, model } = JSON.parse(readFileSync(0, "utf8"));
const replicate = new Replicate({ auth, baseUrl });
const input = { prompt: "An astronaut riding a unicorn", output_megapixels: "0.25" };
const start = (bytes) => Buffer.from(bytes).toString("hex", 0, 3);

const refused = async (call) => {
  try {
    await call();
  } catch (error) {
    return { status: error.response.status, message: error.message };
  }
};

const run = async (options) => {
  const [file] = await replicate.run(model, { input, ...options });
  return start(await (await file.blob()).arrayBuffer());
};

const created = await replicate.predictions.create({ model, input: { ...input, seed: 7 } });
const made = await replicate.wait(created);
const models = (await replicate.models.list()).results.map(({ owner, name }) => `${owner}/${name}`);
const latest = (await replicate.models.get(...model.split("/"))).latest_version.id;

const sdk = createReplicate({ apiToken: auth, baseURL: baseUrl }).image(model);
const ask = { prompt: input.prompt, n: 1, providerOptions: {} };
const generated = await sdk.doGenerate({ ...ask, size: "512x512", seed: 7 });

console.log(
  JSON.stringify({
    block: await run({}),
    poll: await run({ wait: { mode: "poll", interval: 100 } }),
    version: start(
      await (await (await replicate.run(`${model}:${latest}`, { input }))[0].blob()).arrayBuffer(),
    ),
    status: [created.status, made.status],
    read: (await replicate.predictions.get(made.id)).input.seed,
    listed: (await replicate.predictions.list()).results.some(({ id }) => id === made.id),
    canceled: (await replicate.predictions.cancel(made.id)).status,
    models,
    account: (await replicate.accounts.current()).type,
    secret: (await replicate.webhooks.default.secret.get()).key.slice(0, 6),
    sdk: generated.images.map(start),
    input: await refused(() => replicate.run(model, { input: { ...input, guidance: 4 } })),
    files: await refused(() => replicate.files.create(Buffer.from("x"))),
    deployments: await refused(() => replicate.deployments.list()),
    trainings: await refused(() => replicate.trainings.list()),
  }),
);
