// Where the service is: a proxy may put it below a path of its own.

/** What stands in front of each path of the service, as this file's own address tells it. */
const PREFIX = new URL(import.meta.url).pathname.replace(/\/pages\/.*$/, "");

/** The address of the service, as others reach it. */
export const SERVICE = location.origin + PREFIX;

/** The path of the service in the address of this page. */
export const PATH = location.pathname.slice(PREFIX.length) || "/";

/** Where a path of the service is found from here. */
export function at(path) {
  return PREFIX + path;
}
