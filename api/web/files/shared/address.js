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

/** The path within the service of a file that it writes for the pages. */
export function writtenFile(name) {
  return new URL(`../${name}`, import.meta.url).pathname.slice(PREFIX.length);
}

/**
 * The URL of a job's image, or of its preview, on this server: `image.url` may name another host. The
 * signature of `preview_url` replaces the key, so that the browser can load and cache it.
 */
export function imageAddress({ id, image }, { preview = false } = {}) {
  const query = new URL(image.preview_url, location.href).searchParams;
  if (!preview) query.delete("size");
  return at(`/v1/jobs/${id}/image?${query}`);
}
