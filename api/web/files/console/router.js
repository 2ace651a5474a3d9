// Where one is in the console, as the fragment of the address: "#/jobs/job_x?status=failed".

/** Takes the fragment apart: `{view, rest, query}`; null for one that is not ours ("#main"). */
export function placeOf(hash) {
  if (hash && !hash.startsWith("#/")) return null;
  const [path, query = ""] = hash.replace(/^#\//, "").split("?");
  const [view, ...rest] = path.split("/").map(decoded);
  return { view: view || "now", rest, query: Object.fromEntries(new URLSearchParams(query)) };
}

function decoded(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part; // whoever typed it is told that there is no such thing
  }
}

/** Writes a place: `link("jobs", {status: "failed"})`, `link("jobs/job_x")`. Empty values are left out. */
export function link(path, query = {}) {
  const pairs = Object.entries(query).filter(
    ([, value]) => value !== "" && value !== null && value !== undefined,
  );
  return `#/${path}${pairs.length ? `?${new URLSearchParams(pairs)}` : ""}`;
}

/** Goes somewhere. */
export function go(path, query) {
  location.hash = link(path, query);
}
