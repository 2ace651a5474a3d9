// A request as a curl command. Pure.
import { SERVICE } from "../shared/address.js";
import { shell } from "../shared/quoting.js";

/** Write a request as a curl command; the key stays a variable. */
export function curlOf({ method, scopes }, { path, query, headers, body }) {
  const address = new URL(SERVICE + path);
  for (const [name, value] of Object.entries(query)) address.searchParams.set(name, value);
  const isOperators = scopes.some((one) => one.startsWith("ops:"));
  const variable = isOperators ? "DARKROOM_OPS_KEY" : "DARKROOM_API_KEY";
  const lines = [
    `curl -sS ${method === "GET" ? "" : `-X ${method} `}${shell(readable(address))}`,
    scopes.length > 0 && `-H "Authorization: Bearer $${variable}"`,
    ...Object.entries(headers).map(([name, value]) => `-H ${shell(`${name}: ${value}`)}`),
    body !== undefined && `--data-binary ${shell(body)}`,
  ];
  return lines.filter(Boolean).join(" \\\n  ");
}

/** Show an empty path parameter by its name. */
function readable(address) {
  return address.href.replaceAll("%7B", "{").replaceAll("%7D", "}");
}
