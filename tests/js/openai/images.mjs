// What OpenAI's documentation shows for its JavaScript package, against the service that is told on
// the input. Prints one line of JSON with what came back.
import { readFileSync } from "node:fs";
import OpenAI from "openai";

const service = JSON.parse(readFileSync(0, "utf8"));
const client = new OpenAI(service);
const prompt = "A cute baby sea otter";
const size = "512x512";

const refused = async (call) => {
  try {
    await call();
  } catch (error) {
    return { kind: error.constructor.name, status: error.status, param: error.param };
  }
};

const encoded = await client.images.generate({ prompt, size, n: 2, quality: "low" });
const linked = await client.images.generate({ prompt, size, response_format: "url", seed: 7 });
const image = await fetch(linked.data[0].url);
const models = [];
for await (const model of client.models.list()) models.push(model.id);
const stranger = new OpenAI({ ...service, apiKey: "sk-wrong" });

console.log(
  JSON.stringify({
    starts: encoded.data.map((one) => Buffer.from(one.b64_json, "base64").toString("hex", 0, 4)),
    image: image.headers.get("content-type"),
    models,
    size: await refused(() => client.images.generate({ prompt, size: "huge" })),
    key: await refused(() => stranger.images.generate({ prompt })),
  }),
);
