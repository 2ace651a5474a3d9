// What an answer told, for the path of the next request.

/** Which parameter of a path an id of a kind fills. */
const KINDS = {
  job: ["job_id", "prediction_id"],
  batch: ["batch_id"],
  msg: ["delivery_id"],
  ep: ["endpoint_id"],
};

/** Gives {remembered(name), remember(data)}: the newest id of each kind, and the model on offer. */
export function remembering(document) {
  const model = document.components?.schemas?.JobBody?.properties?.model?.default ?? "";
  const [owner = "", name = ""] = model.split("/");
  const known = { owner, name, model_id: model, queue: "generate" };

  function remember(data) {
    const id = data?.id ?? data?.data?.[0]?.id;
    const kind = typeof id === "string" ? id.split("_")[0] : "";
    for (const parameter of KINDS[kind] ?? []) known[parameter] = id;
  }

  return { remembered: (parameter) => known[parameter] ?? "", remember };
}
