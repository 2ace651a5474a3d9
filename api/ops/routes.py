"""The operator's addresses."""

from api.ops import (
    audit,
    deliveries,
    endpoints,
    jobs,
    keys,
    me,
    now,
    one_job,
    queues,
    tenants,
    workers,
)
from api.reference_ops import told_ops as told
from api.routing import Direct

_TENANT = "/ops/v1/tenants/{tenant}"
_KEYS = f"{_TENANT}/keys"
_MODEL = "/ops/v1/models/{owner}/{name}"
_DELIVERIES = "/ops/v1/deliveries"
_ENDPOINTS = "/ops/v1/endpoints"

OPS_ROUTES: tuple[Direct, ...] = (
    Direct("GET", "/ops/v1/tenants", tenants.get_tenants, told=told("get_tenants")),
    Direct("POST", "/ops/v1/tenants", tenants.post_tenant, told=told("post_tenant")),
    Direct("GET", _TENANT, tenants.get_tenant, told=told("get_tenant")),
    Direct("PATCH", _TENANT, tenants.patch_tenant, told=told("patch_tenant")),
    Direct("GET", _KEYS, keys.get_keys, told=told("get_keys")),
    Direct("POST", _KEYS, keys.post_key, told=told("post_key")),
    Direct("POST", f"{_KEYS}/{{key_id}}/rotate", keys.rotate, told=told("rotate_key")),
    Direct("DELETE", f"{_KEYS}/{{key_id}}", keys.delete_key, told=told("delete_key")),
    Direct("GET", "/ops/v1/queues", queues.get_queues, told=told("get_queues")),
    Direct("POST", "/ops/v1/queues/{queue}/pause", queues.pause_queue, told=told("pause_queue")),
    Direct("POST", "/ops/v1/queues/{queue}/resume", queues.resume_queue, told=told("resume_queue")),
    Direct("POST", f"{_MODEL}/pause", queues.pause_one_model, told=told("pause_model")),
    Direct("POST", f"{_MODEL}/resume", queues.resume_one_model, told=told("resume_model")),
    Direct("GET", "/ops/v1/jobs", jobs.get_all_jobs, told=told("get_all_jobs")),
    Direct("POST", "/ops/v1/jobs/retry", jobs.retry_jobs, told=told("retry_jobs")),
    Direct("POST", "/ops/v1/jobs/cancel", jobs.cancel_jobs, told=told("cancel_jobs")),
    Direct("GET", "/ops/v1/jobs/{job_id}", one_job.get_any_job, told=told("get_any_job")),
    Direct("GET", "/ops/v1/me", me.get_me, told=told("get_me")),
    Direct("GET", "/ops/v1/now", now.get_now, told=told("get_now")),
    Direct("GET", "/ops/v1/history", now.get_history, told=told("get_history")),
    Direct("GET", "/ops/v1/workers", workers.get_workers, told=told("get_workers")),
    Direct("GET", _DELIVERIES, deliveries.get_all_deliveries, told=told("get_all_deliveries")),
    Direct(
        "POST",
        f"{_DELIVERIES}/redeliver",
        deliveries.redeliver_all_since,
        told=told("redeliver_all_since"),
    ),
    Direct(
        "GET",
        f"{_DELIVERIES}/{{delivery_id}}",
        deliveries.get_any_delivery,
        told=told("get_any_delivery"),
    ),
    Direct(
        "POST",
        f"{_DELIVERIES}/{{delivery_id}}/redeliver",
        deliveries.redeliver_any_one,
        told=told("redeliver_any_one"),
    ),
    Direct("GET", _ENDPOINTS, endpoints.get_all_endpoints, told=told("get_all_endpoints")),
    Direct(
        "POST",
        f"{_ENDPOINTS}/{{endpoint_id}}/enable",
        endpoints.enable_any,
        told=told("enable_any_endpoint"),
    ),
    Direct(
        "POST",
        f"{_ENDPOINTS}/{{endpoint_id}}/secret/rotate",
        endpoints.rotate_any,
        told=told("rotate_any_secret"),
    ),
    Direct("GET", "/ops/v1/audit", audit.get_audit, told=told("get_audit")),
)
