// The introduction: rules that hold for every operation.
import { at, SERVICE } from "../shared/address.js";
import { codeBlock } from "../shared/code.js";
import { button } from "../shared/controls.js";
import { el } from "../shared/dom.js";
import { prose } from "./text.js";

const RULES =
  "Times are RFC 3339 in UTC, durations are seconds. Errors are problem documents (RFC 9457): `code` is stable, and `errors` lists every fault of a request at once. Unknown fields are refused.";
const TRIED =
  " (OpenAPI 3.1). “Run it” sends real requests with the key of this tab. Operator routes need an operator key: ";

/** The head of the reference; `enterOperatorKey` opens the dialog for the operator key. */
export function introductionOf({ info }, enterOperatorKey) {
  const about = `${info.description} Version ${info.version}, at \`${SERVICE}\`.`;
  const link = el("a", { href: at("/openapi.json") }, "/openapi.json");
  const enter = button("Enter an operator key", enterOperatorKey, { kind: "small" });
  return el(
    "section",
    { class: "card stack" },
    el("h1", {}, "API reference"),
    el("p", {}, prose(about)),
    codeBlock("first request", firstRequest()).node,
    el("p", {}, prose(RULES)),
    el("p", {}, "The document itself is ", link, TRIED, enter),
  );
}

function firstRequest() {
  return `export DARKROOM_API_KEY=dk_…
curl -sS ${SERVICE}/v1/jobs \\
  -H "Authorization: Bearer $DARKROOM_API_KEY" \\
  -H 'Content-Type: application/json' \\
  -H 'Prefer: wait=60' \\
  -d '{"input": {"prompt": "A lighthouse at dawn"}}'`;
}
