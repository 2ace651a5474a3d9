// URLs of the service; a proxy may serve it below a path prefix.

/** The path prefix, derived from this module's own URL. */
const PREFIX = new URL(import.meta.url).pathname.replace(/\/pages\/.*$/, "");

/** The base URL of the service, as clients use it. */
export const SERVICE = location.origin + PREFIX;

/** The path within the service of the current page. */
export const PATH = location.pathname.slice(PREFIX.length) || "/";

/** Build a URL from a path of the service. */
export function at(path) {
  return PREFIX + path;
}
