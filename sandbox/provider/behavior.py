"""What the provider will do next: a latency, a script of steps, and what comes after them."""

from collections import deque
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sandbox.provider.steps import Ok, Seconds, Step, StepBody, written

SCRIPT_STEPS = 1_000_000


class BehaviorBody(BaseModel):
    """The body of `PUT /_sandbox/behavior`. What is left out goes back to how the server began."""

    model_config = ConfigDict(extra="forbid", strict=True)

    latency_seconds: Seconds | None = None
    script: Annotated[list[Step], Field(max_length=SCRIPT_STEPS)] = Field(default_factory=list)
    default: Step = Ok()


class BadBody(ValueError):
    """A body of a `/_sandbox` address that cannot be used; `faults` names each of them."""

    def __init__(self, error: ValidationError) -> None:
        """Keep (pointer, message) of each fault; the pointer is a JSON pointer into the body."""
        super().__init__("the body cannot be used")
        self.faults = [(_pointer(fault["loc"]), fault["msg"]) for fault in error.errors()]


def _pointer(place: tuple[int | str, ...]) -> str:
    """Write where a fault is, without the name of the step that pydantic puts after its place."""
    step = {"script": 2, "default": 1}.get(str(place[0]) if place else "")
    parts = [part for number, part in enumerate(place) if number != step]
    return "".join(f"/{part}" for part in parts)


class Behavior:
    """The steps that are left. One is taken by each generate call that passes the checks."""

    def __init__(self, latency_seconds: float) -> None:
        """Begin with "ok" for ever, each after `latency_seconds`."""
        self._usual_latency = latency_seconds
        self.latency_seconds = latency_seconds
        self._script: deque[StepBody] = deque()
        self._default: StepBody = Ok()

    def replace(self, body: bytes) -> None:
        """Take another behaviour from JSON; raises BadBody and changes nothing if it is wrong."""
        try:
            new = BehaviorBody.model_validate_json(body)
        except ValidationError as error:
            raise BadBody(error) from None
        given = new.latency_seconds
        self.latency_seconds = self._usual_latency if given is None else given
        self._script = deque(new.script)
        self._default = new.default

    def take(self) -> StepBody:
        """Give the next step."""
        return self._script.popleft() if self._script else self._default

    def latency_of(self, step: StepBody) -> float:
        """Give the seconds that a call with this step takes."""
        return self.latency_seconds if step.latency_seconds is None else step.latency_seconds

    def shown(self) -> dict[str, Any]:
        """Show the behaviour with what is left of the script."""
        return {
            "latency_seconds": self.latency_seconds,
            "script": [written(step) for step in self._script],
            "default": written(self._default),
        }
