// The progress of a deletion that a worker carries out.
import { el, fill } from "../shared/dom.js";
import { count, number } from "../shared/format.js";
import { loading, note, trouble } from "../shared/notices.js";

const POLL_MS = 1000;

/** Show an erasure, and read it again until it is done or the returned node leaves the page. */
export function erasureProgress(client, erasure) {
  const node = el("div", { role: "status" });
  show(erasure);
  return node;

  function show(now) {
    if (now.status === "done")
      return fill(node, note("good", el("strong", {}, `${count(now.deleted, "job")} deleted`)));
    const words = `${number(now.deleted)} of ${count(now.count, "job")} deleted. The deletion goes on if you close this.`;
    fill(node, loading(words));
    setTimeout(poll, POLL_MS);
  }

  async function poll() {
    if (!node.isConnected) return;
    try {
      show(await client.get(`/ops/v1/erasures/${erasure.id}`));
    } catch (error) {
      fill(node, trouble(error));
    }
  }
}
