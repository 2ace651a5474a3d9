// The one way to the API: every answer is data, or says in words what went wrong.
import { at } from "./address.js";
import { connection } from "./connection.js";

/** The API answered that it will not (RFC 9457). */
export class Refused extends Error {
  constructor(status, problem, retryAfter) {
    super(problem.detail || problem.title || `The response status was ${status}.`);
    this.status = status;
    this.code = problem.code ?? "unknown";
    this.title = problem.title ?? "";
    this.faults = problem.errors ?? [];
    this.requestId = problem.request_id ?? "";
    this.problem = problem;
    /** Seconds after which asking again may help; null where it never does. */
    this.retryAfter = retryAfter;
  }
}

/** Nobody answered: no network, or no service. */
export class Away extends Error {
  constructor(cause) {
    super(
      "Darkroom cannot be reached. Check that the service is running and this device is online.",
      { cause },
    );
    this.code = "away";
    this.retryAfter = 2;
    this.faults = [];
  }
}

/** Tells whether the very same request may go well later. */
export function isPassing(error) {
  return error instanceof Away || (error instanceof Refused && error.status === 503);
}

export class Client {
  #key;

  /** `key` is a Key of `key.js`. */
  constructor(key) {
    this.#key = key;
  }

  /** Asks; gives `{status, headers, data}`. Raises Refused or Away, or what `signal` raises. */
  async ask(method, path, { query, body, headers, signal } = {}) {
    const answer = await this.open(method, path, { query, body, headers, signal });
    const data = await bodyOf(answer);
    return { status: answer.status, headers: answer.headers, data };
  }

  /** Asks, and gives the response as it comes, for whoever reads it as a stream. */
  async open(method, path, options) {
    const answer = await this.send(method, path, options);
    if (answer.ok || answer.status === 304) return answer;
    throw refused(answer, await bodyOf(answer));
  }

  /** Asks, and gives the response whatever it says. Raises Away. */
  send(method, path, { query, body, headers, signal } = {}) {
    const told = { ...headers };
    if (this.#key.value) told.Authorization = `Bearer ${this.#key.value}`;
    if (body !== undefined) told["Content-Type"] ??= "application/json";
    const text = body === undefined || typeof body === "string" ? body : JSON.stringify(body);
    return send(withQuery(path, query), { method, headers: told, body: text, signal });
  }

  async get(path, query, options) {
    return (await this.ask("GET", path, { query, ...options })).data;
  }

  async post(path, body, options) {
    return (await this.ask("POST", path, { body, ...options })).data;
  }
}

async function send(path, options) {
  try {
    const answer = await fetch(at(path), {
      ...options,
      cache: "no-cache",
      credentials: "omit",
      redirect: "error",
    });
    connection.answered();
    return answer;
  } catch (error) {
    if (options.signal?.aborted) throw error;
    connection.lost(new Away(error));
    throw new Away(error);
  }
}

async function bodyOf(answer) {
  const kind = answer.headers.get("content-type") ?? "";
  try {
    return kind.includes("json") ? await answer.json() : await answer.text();
  } catch (error) {
    throw error.name === "AbortError" ? error : new Away(error);
  }
}

function refused(answer, data) {
  const problem = data && typeof data === "object" ? data : {};
  const after = Number(answer.headers.get("retry-after"));
  const error = new Refused(answer.status, problem, after > 0 ? after : null);
  if (["redis_down", "not_ready"].includes(error.code)) connection.lost(error);
  return error;
}

/** Adds what is not empty of `query` to a path. */
export function withQuery(path, query = {}) {
  const pairs = Object.entries(query).filter(
    ([, value]) => value !== "" && value !== null && value !== undefined,
  );
  return pairs.length ? `${path}?${new URLSearchParams(pairs)}` : path;
}
