// The request as JSON, to be read and written by hand.
import { el, freshId } from "../parts/dom.js";

/** Gives {node}: what is written well goes into `parameters`, what is not is said. */
export function jsonPanel(parameters) {
  const id = freshId("json");
  const fault = el("p", { class: "fault", role: "alert", hidden: true });
  const text = el("textarea", {
    id,
    class: "mono",
    rows: 18,
    spellcheck: "false",
    "aria-describedby": `${id}-about`,
    oninput: read,
  });

  function read() {
    const [body, words] = parsed(text.value);
    fault.hidden = !words;
    fault.textContent = words;
    if (words) text.setAttribute("aria-invalid", "true");
    else {
      text.removeAttribute("aria-invalid");
      parameters.change(
        {
          modelId: body.model ?? parameters.models[0].id,
          input: body.input ?? {},
          tags: body.tags ?? [],
          more: rest(body),
        },
        "json",
      );
    }
  }

  function show() {
    text.value = JSON.stringify(parameters.body, null, 2);
    fault.hidden = true;
    text.removeAttribute("aria-invalid");
  }

  parameters.addEventListener("change", ({ detail }) => detail !== "json" && show());
  show();
  const about = el(
    "p",
    { class: "about", id: `${id}-about` },
    "The body of ",
    el("code", {}, "POST /v1/jobs"),
    ". Everything that it takes can stand here: ",
    el("code", {}, "priority, webhook, metadata, deadline_seconds, reuse"),
    "…",
  );
  return {
    node: el("div", { class: "field" }, el("label", { for: id }, "Request"), text, fault, about),
    get isFit() {
      return fault.hidden;
    },
  };
}

function parsed(text) {
  try {
    const body = JSON.parse(text);
    return body && typeof body === "object" && !Array.isArray(body)
      ? [body, ""]
      : [null, "This must be one JSON object."];
  } catch (error) {
    return [null, `This is not JSON yet: ${error.message}.`];
  }
}

function rest({ model: _model, input: _input, tags: _tags, ...more }) {
  return more;
}
