// Enumerations of the API.

export const STATUSES = ["queued", "running", "succeeded", "failed", "canceled"];
export const ERROR_CODES = [
  "invalid_input",
  "provider_rejected",
  "content_rejected",
  "provider_auth",
  "provider_credits",
  "provider_busy",
  "provider_down",
  "provider_timeout",
  "provider_unknown_outcome",
  "model_unavailable",
  "image_expired",
  "image_invalid",
  "image_too_large",
  "storage_down",
  "deadline_exceeded",
  "canceled",
  "internal",
];
export const DELIVERY_STATUSES = [
  "pending",
  "sending",
  "parked",
  "delivered",
  "failed",
  "superseded",
];
export const ENDPOINT_STATUSES = ["healthy", "failing", "disabled"];
/** What operators' endpoints get only if it is chosen. */
export const AUDIT_EVENT = "audit.recorded";
/** Other events for operators: each begins a condition, and the next one ends it. */
export const OPERATOR_EVENTS = [
  "provider.held",
  "provider.resumed",
  "provider.key_failed",
  "provider.key_recovered",
  "storage.unavailable",
  "storage.recovered",
  "queue.delayed",
  "queue.recovered",
  "endpoint.disabled",
  "endpoint.enabled",
  "model.removed",
  "model.restored",
];
export const SCOPES = {
  "jobs:write": "Create, cancel and retry jobs",
  "jobs:read": "Read the tenant's jobs and images",
  "ops:read": "Read all data of all tenants",
  "ops:write": "Make every change this console offers",
};
