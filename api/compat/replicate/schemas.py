"""The body of Replicate's `predictions`, as pydantic checks it."""

from enum import StrEnum
from typing import Annotated, Any

from pydantic import Field

from api.jobs.schemas import Strict
from shared.jobs import EventType


class PredictionEvent(StrEnum):
    """What a Replicate client can have told by webhook."""

    START = "start"
    OUTPUT = "output"
    LOGS = "logs"
    COMPLETED = "completed"


#: Ours for each of theirs. Output and logs are there when the job is done, not before.
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
    """Asks for one image."""

    version: Annotated[
        str | None, Field(description="A model, one of its versions, or `model:version`")
    ] = None
    input: Annotated[dict[str, Any], Field(description="The model's parameters")]
    webhook: Annotated[str | None, Field(description="Where to tell what becomes of it")] = None
    webhook_events_filter: Annotated[
        tuple[PredictionEvent, ...] | None, Field(description="What to tell; all unless it says so")
    ] = None
    stream: Annotated[bool | None, Field(description="Taken, and changes nothing")] = None

    @property
    def events(self) -> tuple[EventType, ...]:
        """What the webhook tells, in our words."""
        wanted = self.webhook_events_filter or tuple(PredictionEvent)
        return tuple(dict.fromkeys(ours for theirs in wanted for ours in EVENTS[theirs]))
