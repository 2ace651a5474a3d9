// The closed lists of the contract.

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
export const SCOPES = {
  "jobs:write": "Ask for images, cancel, retry",
  "jobs:read": "See its own jobs and images",
  "ops:read": "See everything of all tenants",
  "ops:write": "Do everything that this page does",
};
