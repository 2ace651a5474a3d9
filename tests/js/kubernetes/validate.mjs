// Reads resources as JSON, one a line, and says what their operators' own schemas have against each.
import { createInterface } from "node:readline";
import * as keda from "@kubernetes-models/keda/keda.sh/v1alpha1";
import * as prometheus from "@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1";

const models = { "keda.sh/v1alpha1": keda, "monitoring.coreos.com/v1": prometheus };
for await (const line of createInterface({ input: process.stdin })) {
  const resource = JSON.parse(line);
  const Model = models[resource.apiVersion]?.[resource.kind];
  let fault = null;
  try {
    if (!Model) throw new Error(`there is no ${resource.apiVersion} ${resource.kind}`);
    new Model(resource).validate();
  } catch (error) {
    fault = error.message;
  }
  console.log(JSON.stringify({ name: resource.metadata.name, kind: resource.kind, fault }));
}
