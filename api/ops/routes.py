"""The operator's addresses."""

from api.ops import (
    audit,
    deliveries,
    endpoints,
    job,
    jobs,
    keys,
    overview,
    queues,
    tenants,
    whoami,
    workers,
)
from api.reference_ops import describe_ops as describe
from api.routing import Direct

_TENANT = "/ops/v1/tenants/{tenant}"
_KEYS = f"{_TENANT}/keys"
_MODEL = "/ops/v1/models/{owner}/{name}"
_DELIVERIES = "/ops/v1/deliveries"
_ENDPOINTS = "/ops/v1/endpoints"

OPS_ROUTES: tuple[Direct, ...] = (
    Direct("GET", "/ops/v1/tenants", tenants.get_tenants, docs=describe("get_tenants")),
    Direct("POST", "/ops/v1/tenants", tenants.post_tenant, docs=describe("post_tenant")),
    Direct("GET", _TENANT, tenants.get_tenant, docs=describe("get_tenant")),
    Direct("PATCH", _TENANT, tenants.patch_tenant, docs=describe("patch_tenant")),
    Direct("GET", _KEYS, keys.get_keys, docs=describe("get_keys")),
    Direct("POST", _KEYS, keys.post_key, docs=describe("post_key")),
    Direct("POST", f"{_KEYS}/{{key_id}}/rotate", keys.rotate, docs=describe("rotate_key")),
    Direct("DELETE", f"{_KEYS}/{{key_id}}", keys.delete_key, docs=describe("delete_key")),
    Direct("GET", "/ops/v1/queues", queues.get_queues, docs=describe("get_queues")),
    Direct(
        "POST", "/ops/v1/queues/{queue}/pause", queues.pause_queue, docs=describe("pause_queue")
    ),
    Direct(
        "POST", "/ops/v1/queues/{queue}/resume", queues.resume_queue, docs=describe("resume_queue")
    ),
    Direct("POST", f"{_MODEL}/pause", queues.pause_one_model, docs=describe("pause_model")),
    Direct("POST", f"{_MODEL}/resume", queues.resume_one_model, docs=describe("resume_model")),
    Direct("GET", "/ops/v1/jobs", jobs.get_all_jobs, docs=describe("get_all_jobs")),
    Direct("POST", "/ops/v1/jobs/retry", jobs.retry_jobs, docs=describe("retry_jobs")),
    Direct("POST", "/ops/v1/jobs/cancel", jobs.cancel_jobs, docs=describe("cancel_jobs")),
    Direct("GET", "/ops/v1/jobs/{job_id}", job.get_any_job, docs=describe("get_any_job")),
    Direct("GET", "/ops/v1/me", whoami.get_me, docs=describe("get_me")),
    Direct("GET", "/ops/v1/overview", overview.get_overview, docs=describe("get_overview")),
    Direct("GET", "/ops/v1/history", overview.get_history, docs=describe("get_history")),
    Direct("GET", "/ops/v1/workers", workers.get_workers, docs=describe("get_workers")),
    Direct("GET", _DELIVERIES, deliveries.get_all_deliveries, docs=describe("get_all_deliveries")),
    Direct(
        "POST",
        f"{_DELIVERIES}/redeliver",
        deliveries.redeliver_all_since,
        docs=describe("redeliver_all_since"),
    ),
    Direct(
        "GET",
        f"{_DELIVERIES}/{{delivery_id}}",
        deliveries.get_any_delivery,
        docs=describe("get_any_delivery"),
    ),
    Direct(
        "POST",
        f"{_DELIVERIES}/{{delivery_id}}/redeliver",
        deliveries.redeliver_any_one,
        docs=describe("redeliver_any_one"),
    ),
    Direct("GET", _ENDPOINTS, endpoints.get_all_endpoints, docs=describe("get_all_endpoints")),
    Direct(
        "POST",
        f"{_ENDPOINTS}/{{endpoint_id}}/enable",
        endpoints.enable_any,
        docs=describe("enable_any_endpoint"),
    ),
    Direct(
        "POST",
        f"{_ENDPOINTS}/{{endpoint_id}}/secret/rotate",
        endpoints.rotate_any,
        docs=describe("rotate_any_secret"),
    ),
    Direct("GET", "/ops/v1/audit", audit.get_audit, docs=describe("get_audit")),
)
