"""One attempt of a webhook delivery: claim, sign, send, settle."""

import contextlib
import random
import uuid
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import orjson
import structlog

from shared import metrics
from shared.errors import LostLease, StoreError
from shared.logs import log
from shared.operator_events import OperatorEvent, explain, slack_text
from shared.replicate_schema import FORM, prediction
from shared.serializers import View, batch_shown, rfc3339
from shared.settings import Settings
from shared.signing import now_utc, webhook_headers
from shared.store import deliveries
from shared.store.command import Command
from shared.store.deliveries import Delivery, Settled
from shared.store.endpoints import SLACK
from shared.store.job_queries import QueuedJob
from shared.store.transitions import Closed
from shared.tenant_events import TenantEvent
from shared.tracing.context import logged
from shared.tracing.spans import Kind, Span
from worker.claiming import claim_when_open
from worker.context import WorkerContext
from worker.leases import Leases
from worker.provider.error_parsing import retry_after
from worker.webhook_client import DeliveryResult, SendError

if TYPE_CHECKING:
    from shared.schemas import WebhookPayload

_LOG = log(__name__)
QUEUE = "deliver"
#: Returns a random number from 0 to 1.
Chance = Callable[[], float]
#: Waits vary by this share, either way, so that retries do not reach a receiver all at once.
JITTER = 0.1
#: The longest wait that a receiver may ask for, in seconds.
RETRY_AFTER_MOST_SECONDS = 3_600.0
#: The shortest and longest wait for an egress proxy that fails, in seconds. Even a single delivery
#: that waits is seen in each five minutes of DarkroomEgressProxyDown.
PROXY_WAIT_LEAST_SECONDS, PROXY_WAIT_MOST_SECONDS = 10.0, 120.0
#: A host that responds within this share of an attempt's time delays no others.
IN_TIME = 0.2
#: The subject's members in a slim body.
SLIM_FIELDS = ("id", "status", "version", "run", "counts", "metadata")
#: The types that have one form: they are short.
ALWAYS_FULL: frozenset[str] = frozenset((*TenantEvent, *OperatorEvent))
#: What a test event is in Slack.
TEST_TEXT = "This is a test event of Darkroom. Events of the service are sent to this channel."
#: The outcomes by which attempts are counted.
_COUNTED = {"retry": "retried", "gone": "failed", "release": "egress_proxy_down"}


def do_next_deliveries(context: WorkerContext, most: int = 1) -> None:
    """Attempt the next deliveries, up to `most`; return at once if there is none.

    Each is claimed in the call that settles the one before it, which saves a round trip.
    """
    # before the claim: if this process does not serve the queue, nothing may be taken from it
    leases = context.leases[QUEUE]
    delivery = _claim(context)
    for left in reversed(range(most)):
        if delivery is None:
            return
        delivery = _hold(context, leases, delivery, claims_next=left > 0 and delivery.more)
        if delivery is not None and context.stopping.is_set():
            # it was claimed while the process began to stop; if this fails, its lease expires
            with contextlib.suppress(StoreError, LostLease):
                _release(context, delivery)
            return


def _claim(context: WorkerContext) -> Delivery | None:
    lease = context.settings.lease_seconds
    return claim_when_open(
        context, QUEUE, lambda nonce: deliveries.claim_delivery(nonce, lease_seconds=lease)
    )


def _hold(
    context: WorkerContext, leases: Leases, delivery: Delivery, *, claims_next: bool
) -> Delivery | None:
    """Attempt a delivery under its lease; return the next if `claims_next`."""
    with (
        structlog.contextvars.bound_contextvars(**_named(delivery), **logged(delivery.trace)),
        leases.hold(delivery.id, delivery.fence) as held,
        context.tracer.follow(
            "webhook", delivery.trace, kind=Kind.CLIENT, type=delivery.type, **_named(delivery)
        ) as span,
    ):
        held.release = lambda: _release(context, delivery)
        claimed = _attempt(context, delivery, span, claims_next=claims_next)
    return _claim(context) if isinstance(claimed, Closed) else claimed


def _named(delivery: Delivery) -> dict[str, str | int]:
    """Return the log and span fields of a delivery."""
    named: dict[str, str | int] = {"webhook_id": delivery.id, "attempt": delivery.attempt}
    if delivery.batch:
        return {**named, "batch_id": delivery.batch.id, "tenant": delivery.batch.tenant}
    if delivery.job:
        return {**named, "job_id": delivery.job.id, "tenant": delivery.job.tenant}
    return named


def _release(context: WorkerContext, delivery: Delivery) -> None:
    context.store.run(deliveries.settle_delivery(delivery, "release"))
    metrics.WEBHOOK_ATTEMPTS.labels("released").inc()


def _attempt(
    context: WorkerContext, delivery: Delivery, span: Span, *, claims_next: bool
) -> Delivery | Closed | None:
    began_at = now_utc()
    body = b""
    try:
        body = message(context.view, delivery)
        sent = _send(context, delivery, body, began_at, span.traceparent or delivery.trace)
    except Exception:  # noqa: BLE001  a defect of ours must leave an outcome too
        _LOG.exception("delivery failed because of a defect in Darkroom; please report the trace")
        sent = DeliveryResult(
            None, 0, code=SendError.INTERNAL, error="Internal error; the worker logged the trace."
        )
    outcome, wait = outcome_of(sent, delivery, context.settings)
    _trace(span, sent, outcome)
    settle = deliveries.settle_delivery(
        delivery,
        outcome,
        wait_seconds=wait,
        attempt=_record(delivery, sent, began_at, body),
        in_time=_responsiveness(sent, outcome, context.settings),
    )
    settled = _settle(context, settle, claims_next=claims_next)
    if settled.is_lost:
        _LOG.info("delivery lost")
        return settled.next
    _note(delivery, sent, outcome, wait)
    if settled.switched_off:
        metrics.WEBHOOK_ENDPOINTS_DISABLED.labels(settled.switched_off).inc()
        _LOG.warning("webhook endpoint disabled", reason=settled.switched_off)
    return settled.next


def _settle(context: WorkerContext, settle: Command[str | None], *, claims_next: bool) -> Settled:
    """Settle an attempt, and claim the next delivery unless the process stops."""
    if claims_next and not context.stopping.is_set():
        lease = context.settings.lease_seconds
        return context.run_until_acknowledged(
            deliveries.settle_and_claim(settle, uuid.uuid4().hex, lease_seconds=lease)
        )
    try:
        return Settled(is_lost=False, switched_off=context.run_until_acknowledged(settle))
    except LostLease:
        return Settled(is_lost=True)


def _record(
    delivery: Delivery, sent: DeliveryResult, began_at: datetime, body: bytes
) -> dict[str, Any]:
    """Return the attempt as `GET /v1/webhooks/deliveries/{id}` shows it."""
    record: dict[str, Any] = {
        "number": delivery.attempt,
        "at": rfc3339(int(began_at.timestamp() * 1000)),
        "seconds": round(sent.seconds, 4),
        "status": sent.status,
        "code": sent.code,
        "error": sent.error,
        "answer": sent.answer,
    }
    if sent.code is SendError.EGRESS_PROXY_DOWN:
        # it replaces the last attempt, so the next of another outcome ends the wait
        record["proxy_down_since"] = _proxy_down_since(delivery)
    if delivery.is_test:
        record["request"] = {"headers": dict(sent.headers), "body": body.decode()}
    return record


def _trace(span: Span, sent: DeliveryResult, outcome: str) -> None:
    span.note(outcome=outcome, **({"status": sent.status} if sent.status else {}))
    if sent.code:
        span.fail(sent.code.value)


def _send(
    context: WorkerContext, delivery: Delivery, body: bytes, at: datetime, traceparent: str | None
) -> DeliveryResult:
    webhook = delivery.webhook
    headers = {
        # in lower case, so that ours replace theirs
        **{name.lower(): value for name, value in webhook.get("headers", {}).items()},
        "content-type": "application/json",
        **({"traceparent": traceparent} if traceparent else {}),
        **webhook_headers(delivery.secrets, message_id=delivery.id, at=at, body=body.decode()),
    }
    return context.sender.post(webhook["url"], body, headers)


def message(view: View, delivery: Delivery) -> bytes:
    """Write the body: `{"type", "timestamp", "data"}`, the subject as of the event.

    A slim one has only id, status, version, run and metadata of a job or batch. A job created
    through Replicate's API is sent as a prediction, as Replicate does. To an operators' endpoint of
    Slack it is `{"text"}`.
    """
    if delivery.job and delivery.webhook.get("form") == FORM:
        return orjson.dumps(prediction(view, delivery.job))
    data = _payload(view, delivery)
    if delivery.webhook.get("payload") == "slim" and delivery.type not in ALWAYS_FULL:
        data = {name: data[name] for name in SLIM_FIELDS if name in data}
    if delivery.webhook.get("format") == SLACK:
        return orjson.dumps({"text": _slack_text(view, delivery, data)})
    timestamp = rfc3339(delivery.created_at)
    payload: WebhookPayload = {"type": delivery.type, "timestamp": timestamp, "data": data}
    return orjson.dumps(payload)


def _payload(view: View, delivery: Delivery) -> Mapping[str, Any]:
    if delivery.job:
        return view.job(QueuedJob(delivery.job))
    if delivery.batch:
        return batch_shown(delivery.batch, delivery.created_at)
    data = {
        name: rfc3339(value) if name.endswith("_at") else value
        for name, value in (delivery.data or {}).items()
    }
    if delivery.type == OperatorEvent.AUDIT_RECORDED:
        return _audit_entry(data)
    if delivery.is_for_operators and not delivery.is_test:
        data["message"], data["action"] = explain(delivery.type, data)
    return data


def _audit_entry(data: dict[str, Any]) -> Mapping[str, Any]:
    """Return an entry as `GET /ops/v1/audit` shows it, with a sentence."""
    return {
        **data,
        "at": rfc3339(data["at"]),
        # Lua would turn an empty list into an object
        "detail": orjson.loads(data["detail"]),
        "message": explain(OperatorEvent.AUDIT_RECORDED, data)[0],
    }


def _slack_text(view: View, delivery: Delivery, data: Mapping[str, Any]) -> str:
    if delivery.is_test:
        return TEST_TEXT
    return slack_text(delivery.type, data, console=f"{view.public_url}/ops")


def outcome_of(
    sent: DeliveryResult, delivery: Delivery, settings: Settings, *, chance: Chance = random.random
) -> tuple[str, float]:
    """Return the outcome of an attempt, and the seconds to wait before the next."""
    if sent.is_delivered:
        return "delivered", 0.0
    if sent.is_gone:
        return "gone", 0.0
    if sent.code is SendError.EGRESS_PROXY_DOWN and not delivery.is_test:
        return "release", _varied(_proxy_wait(delivery), chance)
    wait = next_wait(settings.webhook_schedule, delivery.round_attempt, chance=chance)
    if wait is None or delivery.is_test:
        return "failed", 0.0
    requested_wait = retry_after(sent.retry_after, now=now_utc(), most=RETRY_AFTER_MOST_SECONDS)
    return "retry", max(wait, requested_wait or 0.0)


def _proxy_wait(delivery: Delivery) -> float:
    """Return the seconds to wait for the egress proxy: a quarter of the wait so far, bounded."""
    waited = now_utc().timestamp() - _proxy_down_since(delivery)
    return min(max(waited / 4, PROXY_WAIT_LEAST_SECONDS), PROXY_WAIT_MOST_SECONDS)


def _proxy_down_since(delivery: Delivery) -> float:
    """Return when the egress proxy first kept this delivery waiting, in seconds since 1970."""
    return float(delivery.last_attempt.get("proxy_down_since", now_utc().timestamp()))


def is_in_time(sent: DeliveryResult, settings: Settings) -> bool:
    """Return whether any response came, soon enough not to occupy a thread for long."""
    return sent.status is not None and sent.seconds <= IN_TIME * settings.webhook_timeout_seconds


def _responsiveness(sent: DeliveryResult, outcome: str, settings: Settings) -> bool | None:
    """Return whether the host answers in time; None if the attempt says nothing about it.

    A released attempt says that threads wait long for this host, if it took long.
    """
    in_time = is_in_time(sent, settings)
    if outcome == "release" and sent.seconds <= IN_TIME * settings.webhook_timeout_seconds:
        return None
    return in_time


def next_wait(
    schedule: Sequence[float], attempt: int, *, chance: Chance = random.random
) -> float | None:
    """Return the seconds, with jitter, before the attempt after this one; None after the last."""
    if attempt >= len(schedule):
        return None
    return _varied(schedule[attempt], chance)


def _varied(wait: float, chance: Chance) -> float:
    return wait * (1 + JITTER * (2 * chance() - 1))


def _note(delivery: Delivery, sent: DeliveryResult, outcome: str, wait: float) -> None:
    metrics.WEBHOOK_ATTEMPTS.labels(_COUNTED.get(outcome, outcome)).inc()
    record = {"status": sent.status, "code": sent.code, "seconds": round(sent.seconds, 3)}
    if outcome == "delivered":
        since = now_utc().timestamp() - delivery.created_at / 1000
        metrics.WEBHOOK_DELIVERY_SECONDS.observe(max(since, 0))
        _LOG.info("webhook delivered", **record)
    elif outcome == "release":
        _LOG.error("the egress proxy fails, webhooks wait for it", error=sent.error, **record)
    else:
        _LOG.warning(f"webhook {outcome}", wait_seconds=round(wait, 1), **record)
