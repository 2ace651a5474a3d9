// The place in the console as the URL fragment: "#/jobs/job_x?status=failed".

/** Parse the fragment to `{view, rest, query}`; null for fragments that are not places ("#main"). */
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
    return part; // the view reports it as unknown
  }
}

/** Build a fragment: `link("jobs", {status: "failed"})`, `link("jobs/job_x")`. Empty values are left out. */
export function link(path, query = {}) {
  const pairs = Object.entries(query).filter(
    ([, value]) => value !== "" && value !== null && value !== undefined,
  );
  return `#/${path}${pairs.length ? `?${new URLSearchParams(pairs)}` : ""}`;
}

/** Navigate to a place. */
export function go(path, query) {
  location.hash = link(path, query);
}
