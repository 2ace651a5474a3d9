"""Every address of the front door, in the order in which they are tried."""

from api import feed, health, models, usage
from api.batches import create as create_batch
from api.batches import manifest
from api.batches import read as batches
from api.dialects.routes import DIALECT_ROUTES
from api.jobs import change, create, events, image, read
from api.ops.routes import OPS_ROUTES
from api.pages.show import PAGE_ROUTES
from api.reference import told
from api.routing import Direct
from api.webhooks import deliveries, endpoints, trial
from shared import metrics

#: Where bodies may be larger than anywhere else.
BATCHES = "/v1/batches"

#: What takes new work: the objectives are about these.
ACCEPTING = (
    *("/v1/jobs", BATCHES, "/openai/v1/images/generations", "/replicate/v1/predictions"),
    "/replicate/v1/models/{owner}/{name}/predictions",
)
_FAILED = 500

#: Each with its path below `/v1/webhooks`.
WEBHOOKS: tuple[Direct, ...] = tuple(
    Direct(method, f"/v1/webhooks{path}", endpoint, told=told(name))
    for method, path, endpoint, name in (
        ("GET", "/deliveries", deliveries.get_deliveries, "get_deliveries"),
        ("GET", "/deliveries/{delivery_id}", deliveries.get_delivery, "get_delivery"),
        (
            "POST",
            "/deliveries/{delivery_id}/redeliver",
            deliveries.redeliver_one,
            "redeliver_one",
        ),
        ("POST", "/redeliver", deliveries.redeliver_since, "redeliver_since"),
        ("POST", "/test", trial.send_test_event, "send_test_event"),
        ("POST", "/secret/rotate", endpoints.rotate_tenant, "rotate_secret"),
        ("GET", "/endpoints", endpoints.get_endpoints, "get_endpoints"),
        ("POST", "/endpoints", endpoints.create_endpoint, "create_endpoint"),
        ("GET", "/endpoints/{endpoint_id}", endpoints.get_endpoint, "get_endpoint"),
        ("POST", "/endpoints/{endpoint_id}/enable", endpoints.enable, "enable_endpoint"),
        (
            "POST",
            "/endpoints/{endpoint_id}/secret/rotate",
            endpoints.rotate_endpoint,
            "rotate_endpoint_secret",
        ),
        ("DELETE", "/endpoints/{endpoint_id}/secret", endpoints.drop_secret, "drop_secret"),
    )
)

ROUTES: tuple[Direct, ...] = (
    Direct("POST", "/v1/jobs", create.create_job, told=told("create_job")),
    Direct("GET", "/v1/jobs/{job_id}", read.get_job, told=told("get_job")),
    Direct("GET", "/v1/jobs", read.get_jobs, told=told("get_jobs")),
    Direct("GET", "/v1/jobs/{job_id}/events", events.get_events, told=told("get_events")),
    Direct("GET", "/v1/jobs/{job_id}/image", image.get_image, told=told("get_image")),
    Direct("POST", "/v1/jobs/{job_id}/cancel", change.cancel_job, told=told("cancel_job")),
    Direct("POST", "/v1/jobs/{job_id}/retry", change.retry_job, told=told("retry_job")),
    Direct("POST", "/v1/jobs/{job_id}/reproduce", change.reproduce_job, told=told("reproduce_job")),
    Direct("DELETE", "/v1/jobs/{job_id}", change.delete_job, told=told("delete_job")),
    Direct("POST", BATCHES, create_batch.create_batch, told=told("create_batch")),
    Direct("GET", BATCHES, batches.get_batches, told=told("get_batches")),
    Direct("GET", f"{BATCHES}/{{batch_id}}", batches.get_batch, told=told("get_batch")),
    Direct("POST", f"{BATCHES}/{{batch_id}}/cancel", batches.cancel, told=told("cancel_batch")),
    Direct(
        "GET", f"{BATCHES}/{{batch_id}}/manifest", manifest.get_manifest, told=told("get_manifest")
    ),
    Direct("GET", "/v1/events", feed.get_feed, told=told("get_feed")),
    *WEBHOOKS,
    Direct("GET", "/v1/usage", usage.get_usage, told=told("get_usage")),
    Direct("GET", "/v1/models", models.get_models, told=told("get_models")),
    Direct("GET", "/v1/models/{owner}/{name}", models.get_model, told=told("get_model")),
    *DIALECT_ROUTES,
    Direct("GET", "/healthz", health.healthz, told=told("healthz")),
    Direct("GET", "/readyz", health.readyz, told=told("readyz")),
    Direct("GET", "/metrics", health.get_metrics, told=told("get_metrics")),
    Direct("GET", "/problems/{code}", health.get_problem, told=told("get_problem")),
    *OPS_ROUTES,
    *PAGE_ROUTES,
)


def begin_metrics() -> None:
    """Make the label sets whose first step tells something: a route's success, and its failures.

    Any other comes with its first request: there are too many that may never come.
    """
    for route in ROUTES:
        method = min(route.methods or ())
        usual, *others = route.responses
        for status in (usual, *(one for one in others if int(one) >= _FAILED)):
            metrics.HTTP_REQUESTS.labels(route.path_format, method, str(status))
    for path in ACCEPTING:
        metrics.HTTP_REQUEST_SECONDS.labels(path)
