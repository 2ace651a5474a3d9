// The installed TypeScript client against the service whose address and key are in the environment,
// behind connections that fail. Prints one line of JSON with what it returned.
import { existsSync } from "node:fs";
import { Darkroom, DarkroomError, JobFailed, StillRunning } from "darkroom-client";

const thrown = async (call) => {
  try {
    await call();
  } catch (error) {
    return error;
  }
};
const darkroom = new Darkroom();

/** Answer the first requests as `faults` say, and pass on the others. */
const faulty = (...faults) => {
  const counted = { requests: 0 };
  counted.client = new Darkroom({
    fetch(...request) {
      if (this !== undefined) throw new Error("Browsers refuse this, too: Illegal invocation");
      return (faults[counted.requests++] ?? fetch)(...request);
    },
  });
  return counted;
};
const busyFor = (seconds) => async () =>
  new Response("{}", { status: 503, headers: { "Retry-After": `${seconds}` } });
const busy = busyFor(0);
const lost = async (...request) => {
  await fetch(...request);
  throw new TypeError("fetch failed");
};
const reached = (jobs) => jobs.map((job) => job.id);

const noGateway = async () => new Response("<html>", { status: 502 });
const held = faulty(busy, noGateway, lost);
const job = await held.client.submit("A lost reply", { tags: ["lost"] });
const created = await Array.fromAsync(darkroom.pages("/v1/jobs", { tag: "lost" }));
const done = await darkroom.wait(job);

const batch = await darkroom.createBatch({ input: { prompt: "A gull" }, variations: 3 });
const results = await Array.fromAsync(darkroom.batchJobs(batch));

const wrong = { prompt: "A pier", output_quality: 101, surely: "not" };
const refused = await thrown(() => darkroom.generate(wrong));
const stranger = await thrown(() => new Darkroom({ key: "dk_wrong" }).request("GET", "/v1/usage"));
const redeliver = (client) => client.request("POST", "/v1/webhooks/redeliver", {});
const proxy = await thrown(() => redeliver(faulty(noGateway).client));
const gone = faulty(busy, busy);
const impatient = await thrown(() => redeliver(gone.client));

const ended = new AbortController();
const waits = faulty(async () => {
  setTimeout(() => ended.abort(), 0);
  return busyFor(30)();
});
const aborted = await thrown(() => waits.client.submit("Never", { signal: ended.signal }));
const patient = faulty(busyFor(3600));
const overloaded = await thrown(() => patient.client.submit("Not now"));

const behave = (step) =>
  fetch(process.env.SANDBOX_BEHAVIOR, { method: "PUT", body: JSON.stringify({ default: step }) });
await behave({ fault: "hang", seconds: 10 });
const late = await thrown(() => darkroom.generate("Slow", { timeoutSeconds: 0 }));
const canceled = await darkroom.request("POST", `/v1/jobs/${late.job.id}/cancel`);
await behave("ok");
const failed = await thrown(async () => {
  const again = faulty(async () => Response.json(canceled, { status: 202 }));
  await again.client.generate("Nothing");
});
const queued = async () => Response.json({ ...done, status: "queued" }, { status: 202 });
const accepted = async (_, init) => (init.method === "POST" ? queued() : lost("data:,"));
const unavailable = faulty(queued, busyFor(3600)).client;
const offline = new Darkroom({ retries: 0, fetch: accepted });
const named = [
  await thrown(() => unavailable.generate("Created")),
  await thrown(() => offline.generate("Created")),
];
const unset = await thrown(async () => new Darkroom({ url: " " }));
const portal = async () => new Response("<html>", { status: 200 });
const damaged = await thrown(() => faulty(portal).client.save(done, "damaged.webp"));
await darkroom.save(done.id, "whole.webp");
const configured = async (options) => (await thrown(async () => new Darkroom(options)))?.message;
const keys = ["dk_a\ndk_b", "\u201cdk_a\u201d"];
const urls = ["127.0.0.1:port", "http://127.0.0.1:port", "http://ann:secret@a.example", "http://a/?b"];

console.log(
  JSON.stringify({
    lost: { requests: held.requests, created: reached(created), job: job.id, status: done.status },
    batch: { statuses: results.map((one) => one.status), different: new Set(reached(results)).size },
    refused: {
      known: refused instanceof DarkroomError,
      code: refused.code,
      pointers: refused.problem.errors.map((fault) => fault.pointer).sort(),
    },
    stranger: { status: stranger.status, code: stranger.code },
    proxy: { known: proxy instanceof DarkroomError, status: proxy.status },
    impatient: { requests: gone.requests, status: impatient.status },
    aborted: { name: aborted.name, requests: waits.requests },
    overloaded: { status: overloaded.status, requests: patient.requests },
    late: late instanceof StillRunning,
    canceled: canceled.status,
    failed: failed instanceof JobFailed && failed.job.id === late.job.id,
    named: named.map((error) => [error.name, error.job?.id, error.message.includes(done.id)]),
    unset: unset.message,
    damaged: damaged.message,
    saved: [existsSync("damaged.webp"), existsSync("whole.webp")],
    keys: await Promise.all(keys.map((key) => configured({ key }))),
    urls: await Promise.all(urls.map((url) => configured({ url }))),
  }),
);
