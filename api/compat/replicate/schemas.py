"""The body of Replicate's `predictions`, as pydantic models."""

from enum import StrEnum
from typing import Annotated, Any

from pydantic import Field

from api.jobs.schemas import Strict
from shared.jobs import EventType


class PredictionEvent(StrEnum):
    """The events of a Replicate webhook."""

    START = "start"
    OUTPUT = "output"
    LOGS = "logs"
    COMPLETED = "completed"


#: Darkroom's events for each of Replicate's. Output and logs exist only when the job is done.
EVENTS = {
    PredictionEvent.START: (EventType.JOB_STARTED,),
    PredictionEvent.OUTPUT: (EventType.JOB_SUCCEEDED,),
    PredictionEvent.LOGS: (EventType.JOB_SUCCEEDED, EventType.JOB_FAILED),
    PredictionEvent.COMPLETED: (
        EventType.JOB_SUCCEEDED,
        EventType.JOB_FAILED,
        EventType.JOB_CANCELED,
    ),
}


class PredictionBody(Strict):
    """Requests one image."""

    version: Annotated[
        str | None, Field(description="A model, one of its versions, or `model:version`")
    ] = None
    input: Annotated[dict[str, Any], Field(description="The model's parameters")]
    webhook: Annotated[str | None, Field(description="URL that webhooks are sent to")] = None
    webhook_events_filter: Annotated[
        tuple[PredictionEvent, ...] | None, Field(description="Events to send; default: all")
    ] = None
    stream: Annotated[bool | None, Field(description="Accepted and ignored")] = None

    @property
    def events(self) -> tuple[EventType, ...]:
        """Darkroom's events for the requested ones."""
        wanted = self.webhook_events_filter or tuple(PredictionEvent)
        return tuple(dict.fromkeys(ours for theirs in wanted for ours in EVENTS[theirs]))
