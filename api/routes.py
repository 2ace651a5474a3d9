"""Every address of the front door, in the order in which they are tried."""

from api import events, health, models, usage
from api.batches import create as create_batch
from api.batches import manifest
from api.batches import read as batches
from api.compat.routes import DIALECT_ROUTES
from api.jobs import actions, create, image, read
from api.jobs import events as job_events
from api.ops.routes import OPS_ROUTES
from api.reference import describe
from api.routing import Direct
from api.web.pages import PAGE_ROUTES
from api.webhooks import deliveries, endpoints, test_event
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
    Direct(method, f"/v1/webhooks{path}", endpoint, docs=describe(name))
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
        ("POST", "/test", test_event.send_test_event, "send_test_event"),
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
    Direct("POST", "/v1/jobs", create.create_job, docs=describe("create_job")),
    Direct("GET", "/v1/jobs/{job_id}", read.get_job, docs=describe("get_job")),
    Direct("GET", "/v1/jobs", read.get_jobs, docs=describe("get_jobs")),
    Direct("GET", "/v1/jobs/{job_id}/events", job_events.get_events, docs=describe("get_events")),
    Direct("GET", "/v1/jobs/{job_id}/image", image.get_image, docs=describe("get_image")),
    Direct("POST", "/v1/jobs/{job_id}/cancel", actions.cancel_job, docs=describe("cancel_job")),
    Direct("POST", "/v1/jobs/{job_id}/retry", actions.retry_job, docs=describe("retry_job")),
    Direct(
        "POST", "/v1/jobs/{job_id}/reproduce", actions.reproduce_job, docs=describe("reproduce_job")
    ),
    Direct("DELETE", "/v1/jobs/{job_id}", actions.delete_job, docs=describe("delete_job")),
    Direct("POST", BATCHES, create_batch.create_batch, docs=describe("create_batch")),
    Direct("GET", BATCHES, batches.get_batches, docs=describe("get_batches")),
    Direct("GET", f"{BATCHES}/{{batch_id}}", batches.get_batch, docs=describe("get_batch")),
    Direct("POST", f"{BATCHES}/{{batch_id}}/cancel", batches.cancel, docs=describe("cancel_batch")),
    Direct(
        "GET",
        f"{BATCHES}/{{batch_id}}/manifest",
        manifest.get_manifest,
        docs=describe("get_manifest"),
    ),
    Direct("GET", "/v1/events", events.get_event_feed, docs=describe("get_event_feed")),
    *WEBHOOKS,
    Direct("GET", "/v1/usage", usage.get_usage, docs=describe("get_usage")),
    Direct("GET", "/v1/models", models.get_models, docs=describe("get_models")),
    Direct("GET", "/v1/models/{owner}/{name}", models.get_model, docs=describe("get_model")),
    *DIALECT_ROUTES,
    Direct("GET", "/healthz", health.healthz, docs=describe("healthz")),
    Direct("GET", "/readyz", health.readyz, docs=describe("readyz")),
    Direct("GET", "/metrics", health.get_metrics, docs=describe("get_metrics")),
    Direct("GET", "/problems/{code}", health.get_problem, docs=describe("get_problem")),
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
