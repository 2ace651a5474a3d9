// The API client: each call returns data or throws an error with a message for the reader.
import { at } from "./address.js";
import { Away, connection } from "./connection.js";

/** The API refused the request (RFC 9457). */
export class Refused extends Error {
  constructor(status, problem, retryAfter) {
    super(problem.detail || problem.title || `The response status was ${status}.`);
    this.status = status;
    this.code = problem.code ?? "unknown";
    this.title = problem.title ?? "";
    this.faults = problem.errors ?? [];
    this.requestId = problem.request_id ?? "";
    this.problem = problem;
    /** Seconds after which a retry may succeed; null if it cannot. */
    this.retryAfter = retryAfter;
  }
}

/** Return whether the same request may succeed later. */
export function isPassing(error) {
  return error instanceof Away || (error instanceof Refused && error.status === 503);
}

/** Return whether the parameters of a search were refused. */
export function isBadFilter(error) {
  return error instanceof Refused && error.status === 422;
}

export class Client {
  #key;

  /** `key` is a Key of `key.js`. */
  constructor(key) {
    this.#key = key;
  }

  /** Send a request; return `{status, headers, data}`. Throw Refused, Away, or the abort reason. */
  async ask(method, path, { query, body, headers, signal } = {}) {
    const answer = await this.open(method, path, { query, body, headers, signal });
    const data = await bodyOf(answer);
    return { status: answer.status, headers: answer.headers, data };
  }

  /** Send a request; return the response unread, for streams. Throw like `request`. */
  async open(method, path, options) {
    const answer = await this.send(method, path, options);
    if (answer.ok || answer.status === 304) return answer;
    throw refused(answer, await bodyOf(answer));
  }

  /** Send a request; return the response whatever its status. Throw Away. */
  send(method, path, { query, body, headers, signal } = {}) {
    const sent = { ...headers };
    if (this.#key.value) sent.Authorization = `Bearer ${this.#key.value}`;
    if (body !== undefined) sent["Content-Type"] ??= "application/json";
    const text = body === undefined || typeof body === "string" ? body : JSON.stringify(body);
    return send(withQuery(path, query), { method, headers: sent, body: text, signal });
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
      // the cookie of an authenticating proxy; Darkroom has none
      credentials: "same-origin",
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

/** Append the values of `query` that are not empty to a path. */
export function withQuery(path, query = {}) {
  const pairs = Object.entries(query).filter(
    ([, value]) => value !== "" && value !== null && value !== undefined,
  );
  return pairs.length ? `${path}?${new URLSearchParams(pairs)}` : path;
}
