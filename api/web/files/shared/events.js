// Server-sent events over fetch, because EventSource cannot send an API key.

/**
 * Yield `{id, event, data}` until the server ends the stream. `lastId` resumes after that event.
 * Throw what the client throws.
 */
export async function* eventsOf(client, path, { lastId = "", signal } = {}) {
  const headers = { Accept: "text/event-stream", ...(lastId && { "Last-Event-ID": lastId }) };
  const answer = await client.open("GET", path, { headers, signal });
  if (!answer.body) return;
  let text = "";
  for await (const piece of pieces(answer.body)) {
    text += piece.replaceAll("\r\n", "\n");
    const blocks = text.split("\n\n");
    text = blocks.pop();
    for (const block of blocks) {
      const event = read(block);
      if (event) yield event;
    }
  }
}

/**
 * Call `tell` with each event and reconnect after errors, resuming after the last event received.
 * End when the stream ends after an event for which `isOver` is true.
 */
export async function followEvents(client, path, { tell, isOver, signal, pauseMs = 1000 }) {
  let last = null;
  while (!signal.aborted) {
    try {
      for await (const event of eventsOf(client, path, { lastId: last?.id, signal })) {
        last = event;
        tell(event);
      }
      if (last && isOver(last)) return;
    } catch (error) {
      if (signal.aborted) return;
      if (error.status && error.status !== 503) throw error;
    }
    await new Promise((go) => setTimeout(go, pauseMs));
  }
}

async function* pieces(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      yield value;
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

function read(block) {
  const event = { id: "", event: "message", data: "" };
  const lines = [];
  for (const line of block.split("\n")) {
    const [, name, value] = /^([^:]*):? ?(.*)$/.exec(line);
    if (name === "data") lines.push(value);
    else if (name === "id" || name === "event") event[name] = value;
  }
  if (!lines.length) return null;
  return { ...event, data: JSON.parse(lines.join("\n")) };
}
