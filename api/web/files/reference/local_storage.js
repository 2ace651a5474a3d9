// Ids from responses, to fill in the paths of later requests.

/** The path parameter that each kind of id fills. */
const KINDS = {
  job: ["job_id", "prediction_id"],
  batch: ["batch_id"],
  msg: ["delivery_id"],
  ep: ["endpoint_id"],
};

/** Return {remembered(name), remember(data)}: the latest id of each kind, and the model. */
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
