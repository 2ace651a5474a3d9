"""The console knows every word of the contract's closed lists, and has words for each."""

from api.ops.attempts import ENDED
from api.web.static_files import FILES
from shared.api_keys import Scope
from shared.errors import ErrorCode
from shared.jobs import DeliveryState, Status, WaitingOn
from shared.operator_events import OperatorEvent
from shared.store.endpoints import EndpointState


def text(name: str) -> str:
    return (FILES / "console" / f"{name}.js").read_text()


def test_every_status_code_and_scope_can_be_chosen() -> None:
    known = text("enums")
    for word in (*ErrorCode, *Status, *DeliveryState, *EndpointState, *Scope, *OperatorEvent):
        assert f'"{word}"' in known, word


def test_every_state_and_reason_is_shown_in_words() -> None:
    shown = text("formatters")
    outcomes = {*ENDED.values(), "running", "released", "succeeded", "failed", "canceled"}
    for word in (*Status, *DeliveryState, *EndpointState, *WaitingOn, *outcomes):
        assert f"{word}:" in shown, word


def test_every_reason_for_which_the_gate_is_closed_is_explained() -> None:
    explained = text("health_summary")
    of_one_job = {WaitingOn.QUEUE, WaitingOn.RETRY, WaitingOn.TENANT_LIMIT, WaitingOn.BUDGET}
    for word in set(WaitingOn) - of_one_job - {WaitingOn.MODEL_RATE}:
        assert f"  {word}: [" in explained, word
