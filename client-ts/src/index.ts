/**
 * The client of Darkroom for TypeScript and JavaScript: `fetch` and the types of its OpenAPI document.
 */
import type { components } from "./openapi.ts";

export type { components, operations, paths } from "./openapi.ts";

type Schemas = components["schemas"];
/** The shapes that the service returns and accepts; `components["schemas"]` has all of them. */
export type Job = Schemas["Job"];
export type JobBody = Schemas["JobBody"];
export type Batch = Schemas["Batch"];
export type BatchBody = Schemas["BatchBody"];
export type Problem = Schemas["Problem"];

/** The parameters of a model; the service checks them against its JSON Schema. */
export type Input = JobBody["input"];
/** Everything of a job besides its input. `model` is the service's default if it is absent. */
export type JobOptions = Omit<JobBody, "input" | "dry_run"> & Request;
export interface Request {
  /** With the same key, a repeated request creates nothing new. Default: a random one for each call. */
  idempotencyKey?: string;
  /** Ends the wait for a response; a job that was created continues. */
  signal?: AbortSignal;
}
export interface WaitOptions {
  /** After this time `StillRunning` is thrown, and the job continues. Default: wait without limit. */
  timeoutSeconds?: number;
  signal?: AbortSignal;
}
/** The body of a webhook about a job. The payload "slim" has fewer members of the job. */
export interface JobEvent {
  type: Schemas["EventType"];
  timestamp: string;
  data: Job;
}
/** The body of a webhook about a batch, a budget, an endpoint or a key. */
export interface OtherEvent {
  type: Exclude<NonNullable<Schemas["EndpointBody"]["events"]>[number], JobEvent["type"]>;
  timestamp: string;
  data: Record<string, unknown>;
}
export type WebhookEvent = JobEvent | OtherEvent;
export interface ClientOptions {
  /** Default: the environment variable DARKROOM_URL. */
  url?: string;
  /** An API key, `dk_…`. Default: the environment variable DARKROOM_API_KEY. */
  key?: string;
  /** Default: the global `fetch`. */
  fetch?: typeof fetch;
  /** How often a request that the service could not take is repeated. Default: 6. */
  retries?: number;
}

/** The longest time that the service holds a response, in seconds. */
const HELD_SECONDS = 60;
const FIRST_PAUSE_SECONDS = 0.5;
const LONGEST_PAUSE_SECONDS = 15;
/** A `Retry-After` beyond this is the caller's decision. */
const LONGEST_RETRY_AFTER_SECONDS = 60;
const NOT_MODIFIED = 304;
/** Too many requests, or no service behind the proxy: the idempotency key covers what was changed. */
const REPEATED = new Set([429, 502, 503, 504]);
const FINAL: ReadonlySet<Job["status"]> = new Set(["succeeded", "failed", "canceled"]);

/** An error of the service; `problem` is its body (RFC 9457), with every fault of an invalid request. */
export class DarkroomError extends Error {
  override name = "DarkroomError";
  readonly status: number;
  readonly problem: Partial<Problem>;
  /** The job that `generate` had created before the error: wait for it instead of paying for another. */
  job?: Job;

  constructor(status: number, problem: Partial<Problem>) {
    const faults = (problem.errors ?? []).map((fault) => `${fault.pointer}: ${fault.message}`);
    const detail = problem.detail ?? `The response ${status} is not one of Darkroom.`;
    super([detail, ...faults].join("\n"));
    this.status = status;
    this.problem = problem;
  }

  get code(): string | undefined {
    return this.problem.code;
  }
}

/** The job ended without an image; `job.error` says why. */
export class JobFailed extends Error {
  override name = "JobFailed";
  readonly job: Job;

  constructor(job: Job) {
    super(job.error ? `${job.error.code}: ${job.error.message}` : `The job was ${job.status}.`);
    this.job = job;
  }
}

/** The job is not final after `timeoutSeconds`. It continues: `wait` waits for it again. */
export class StillRunning extends Error {
  override name = "StillRunning";
  readonly job: Job;

  constructor(job: Job) {
    super(`${job.id} is ${job.status} and not final yet.`);
    this.job = job;
  }
}

export class Darkroom {
  readonly #url: string;
  readonly #key: string;
  readonly #fetch: typeof fetch;
  readonly #retries: number;

  constructor(options: ClientOptions = {}) {
    this.#url = checkedUrl(setting("url", "DARKROOM_URL", options.url)).replace(/\/+$/, "");
    this.#key = checkedKey(setting("key", "DARKROOM_API_KEY", options.key));
    // browsers refuse to run `fetch` as a method of another object
    const send = options.fetch ?? fetch;
    this.#fetch = (...request) => send(...request);
    this.#retries = options.retries ?? 6;
  }

  /**
   * Create a job, wait for its image, and return the job; throw `JobFailed` or `StillRunning`. An error
   * after the job was created has it as `job`, unless `signal` ended the wait.
   */
  async generate(input: string | Input, options: JobOptions & WaitOptions = {}): Promise<Job> {
    const { timeoutSeconds, ...rest } = options;
    const limit: WaitOptions = timeoutSeconds === undefined ? {} : { timeoutSeconds };
    const created = await this.submit(input, rest);
    try {
      const job = await this.wait(created, { ...signalOf(options), ...limit });
      if (job.status !== "succeeded") throw new JobFailed(job);
      return job;
    } catch (error) {
      // calls that share a signal share its reason
      if (error instanceof Error && !options.signal?.aborted) nameJob(error, created);
      throw error;
    }
  }

  /** Create a job and return it at once. */
  submit(input: string | Input, options: JobOptions = {}): Promise<Job> {
    const { idempotencyKey, signal, ...rest } = options;
    const body = { ...rest, input: typeof input === "string" ? { prompt: input } : input };
    return this.#create("/v1/jobs", body, { idempotencyKey, signal });
  }

  /** Wait until a job is final, and return it, also if it failed; throw `StillRunning`. */
  async wait(job: Job | string, options: WaitOptions = {}): Promise<Job> {
    const end = Date.now() + 1000 * (options.timeoutSeconds ?? Number.POSITIVE_INFINITY);
    const path = `/v1/jobs/${encodeURIComponent(typeof job === "string" ? job : job.id)}`;
    let current = typeof job === "string" ? await this.request<Job>("GET", path) : job;
    while (!FINAL.has(current.status)) {
      const left = (end - Date.now()) / 1000;
      if (left <= 0) throw new StillRunning(current);
      const seconds = Math.ceil(Math.min(left, HELD_SECONDS));
      const headers = { "If-None-Match": `W/"${current.version}"` };
      const init = { headers, ...signalOf(options) };
      const response = await this.fetch("GET", `${path}?wait=${seconds}`, init);
      if (response.status !== NOT_MODIFIED) current = (await response.json()) as Job;
    }
    return current;
  }

  /** Download the image of a job, or its preview, a small WebP. */
  image(job: Job | string, options: { preview?: boolean } = {}): Promise<Response> {
    const id = encodeURIComponent(typeof job === "string" ? job : job.id);
    return this.fetch("GET", `/v1/jobs/${id}/image${options.preview ? "?size=preview" : ""}`);
  }

  /**
   * Write the image of a job into a file: the whole file, or nothing. Needs Node.js or the like.
   * Throw an error if the bytes are not those of the image (SHA-256); a preview is not compared.
   */
  async save(job: Job | string, path: string, options: { preview?: boolean } = {}): Promise<void> {
    const { rename, rm, writeFile } = await import("node:fs/promises");
    const partial = `${path}.${crypto.randomUUID()}.part`;
    const response = await this.image(job, options);
    const data = new Uint8Array(await response.arrayBuffer());
    if (!options.preview && (await sha256(data)) !== (await this.#imageOf(job))?.sha256) {
      throw new Error("The image arrived damaged: its SHA-256 is not that of the job. Try again.");
    }
    try {
      await writeFile(partial, data);
      await rename(partial, path);
    } finally {
      await rm(partial, { force: true });
    }
  }

  async #imageOf(job: Job | string): Promise<Job["image"]> {
    if (typeof job !== "string" && job.image) return job.image;
    const id = encodeURIComponent(typeof job === "string" ? job : job.id);
    return (await this.request<Job>("GET", `/v1/jobs/${id}`)).image;
  }

  /** Create many jobs at once: all of them, or none. */
  createBatch(body: BatchBody, options: Request = {}): Promise<Batch> {
    return this.#create("/v1/batches", body, options);
  }

  /** Wait for the jobs of a batch, and yield each when it is final. */
  async *batchJobs(batch: Batch | string, options: WaitOptions = {}): AsyncGenerator<Job> {
    const id = typeof batch === "string" ? batch : batch.id;
    for await (const job of this.pages<Job>("/v1/jobs", { batch_id: id, limit: "200" })) {
      yield await this.wait(job, options);
    }
  }

  /** Yield everything of a list, page by page; `query` filters it. */
  async *pages<T>(path: string, query: Record<string, string> = {}): AsyncGenerator<T> {
    let cursor: string | null = null;
    do {
      const parameters = new URLSearchParams(cursor ? { ...query, cursor } : query);
      type Page = { data: T[]; next_cursor: string | null };
      const page: Page = await this.request<Page>("GET", `${path}?${parameters}`);
      yield* page.data;
      cursor = page.next_cursor;
    } while (cursor);
  }

  /** Send any request of the API and read its JSON; throw `DarkroomError`. */
  async request<T>(method: string, path: string, body?: unknown): Promise<T> {
    const response = await this.fetch(method, path, body === undefined ? {} : json(body));
    return (await response.json()) as T;
  }

  /** Send any request of the API with the key, repeat it if that is safe; throw `DarkroomError`. */
  async fetch(method: string, path: string, init: RequestInit = {}): Promise<Response> {
    const headers = new Headers(init.headers);
    headers.set("Authorization", `Bearer ${this.#key}`);
    const safe = method === "GET" || headers.has("Idempotency-Key");
    for (let attempt = 0; ; attempt++) {
      const last = attempt >= this.#retries;
      const response = await this.#send(path, { ...init, method, headers }, safe && !last);
      if (response && (response.ok || response.status === NOT_MODIFIED)) return response;
      const after = response ? retryAfter(response) : 0;
      const repeated = !response || (REPEATED.has(response.status) && safe);
      if (response && (last || !repeated || after > LONGEST_RETRY_AFTER_SECONDS)) {
        throw new DarkroomError(response.status, await problemOf(response));
      }
      await pause(attempt, after, init.signal);
    }
  }

  /** Send one request; with `forgiving`, return undefined if there is no response. */
  async #send(path: string, init: RequestInit, forgiving: boolean): Promise<Response | undefined> {
    try {
      return await this.#fetch(this.#url + path, { ...init, redirect: "error" });
    } catch (error) {
      if (!forgiving || init.signal?.aborted) throw error;
      return undefined;
    }
  }

  async #create<T>(path: string, body: unknown, options: Unset<Request>): Promise<T> {
    const key = options.idempotencyKey ?? crypto.randomUUID();
    const { headers, ...init } = json(body);
    const sent = { ...init, headers: { ...headers, "Idempotency-Key": key }, ...signalOf(options) };
    return (await (await this.fetch("POST", path, sent)).json()) as T;
  }
}

/** Add the job that was just created to an error that does not name one. */
function nameJob(error: Error & { job?: Job }, job: Job): void {
  if (error.job) return;
  error.job = job;
  error.message += ` ${job.id} was created: wait for it, do not create another.`;
}

type Unset<T> = { [Name in keyof T]?: T[Name] | undefined };

function setting(name: string, variable: string, given?: string): string {
  const value = (given ?? globalThis.process?.env[variable] ?? "").trim();
  if (!value)
    throw new TypeError(`No ${name} is configured: pass \`${name}\`, or set ${variable}.`);
  return value;
}

/** Check the URL now: `fetch` would report it like a network that fails, and quote a password in it. */
function checkedUrl(written: string): string {
  const url = URL.canParse(written) ? new URL(written) : undefined;
  const isPlain = url && !(url.username || url.password || url.search || url.hash);
  if (!isPlain || !["http:", "https:"].includes(url.protocol))
    throw new TypeError(
      "The URL of the service must begin with http:// or https://, without user, query and fragment.",
    );
  return written;
}

/** Check the key now: `fetch` would quote all of it in its error. */
function checkedKey(written: string): string {
  if (!/^[\x21-\x7e]+$/.test(written))
    throw new TypeError("The key has a character that no header can carry: copy the key again.");
  return written;
}

async function sha256(data: BufferSource): Promise<string> {
  const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", data));
  return Array.from(hash, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

function json(body: unknown) {
  return { body: JSON.stringify(body), headers: { "Content-Type": "application/json" } };
}

function signalOf(options: { signal?: AbortSignal | undefined }): { signal?: AbortSignal } {
  return options.signal ? { signal: options.signal } : {};
}

/** Return the seconds that the service asks for, or 0. */
function retryAfter(response: Response): number {
  const seconds = Number(response.headers.get("Retry-After") ?? 0);
  return Number.isFinite(seconds) ? seconds : 0;
}

async function problemOf(response: Response): Promise<Partial<Problem>> {
  const text = await response.text();
  try {
    return JSON.parse(text) ?? {};
  } catch {
    return {}; // a proxy's page, for example
  }
}

/** Wait before the next attempt: `after` seconds, and a random part of a time that doubles. */
async function pause(attempt: number, after: number, signal?: AbortSignal | null): Promise<void> {
  const ceiling = Math.min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2 ** attempt);
  const milliseconds = 1000 * (after + Math.random() * ceiling);
  await new Promise<void>((resolve, reject) => {
    const timer = setTimeout(resolve, milliseconds);
    const abort = () => {
      clearTimeout(timer);
      reject(signal?.reason);
    };
    if (signal?.aborted) abort();
    else signal?.addEventListener("abort", abort, { once: true });
  });
}
