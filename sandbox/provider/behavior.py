"""The provider's next replies: a latency, a script of steps, and the default after them.

One behaviour is general. Others are limited to calls with one API key, for one model, or both.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sandbox.provider.faults import Ok, Seconds, Step, StepBody, written

SCRIPT_STEPS = 1_000_000
#: The API key and the model that a behaviour is limited to.
Limits = tuple[str | None, str | None]


class BehaviorBody(BaseModel):
    """The body of `PUT /_sandbox/behavior`. Missing members return to the initial behaviour.

    With `key` or `model` it applies to calls with that API key or for that model, and replaces only
    an earlier one with the same limits; without `latency_seconds` it has the general one.
    """

    model_config = ConfigDict(extra="forbid", strict=True)

    latency_seconds: Seconds | None = None
    script: Annotated[list[Step], Field(max_length=SCRIPT_STEPS)] = Field(default_factory=list)
    default: Step = Ok()
    key: str | None = None
    model: str | None = None


class BadBody(ValueError):
    """An invalid body of a `/_sandbox` route; `faults` names each fault."""

    def __init__(self, error: ValidationError | Sequence[tuple[str, str]]) -> None:
        """Take (pointer, message) of each fault; the pointer is a JSON pointer into the body."""
        super().__init__("the body cannot be used")
        if isinstance(error, ValidationError):
            error = [(_pointer(fault["loc"]), fault["msg"]) for fault in error.errors()]
        self.faults = list(error)


def _pointer(path: tuple[int | str, ...]) -> str:
    """Write the path of a fault, without the step's name that pydantic appends."""
    step = {"script": 2, "default": 1}.get(str(path[0]) if path else "")
    parts = [part for number, part in enumerate(path) if number != step]
    return "".join(f"/{part}" for part in parts)


@dataclass(slots=True)
class Plan:
    """The remaining steps for some calls; `latency_seconds` None is the general latency."""

    latency_seconds: float | None = None
    script: deque[StepBody] = field(default_factory=deque)
    default: StepBody = field(default_factory=Ok)

    def take(self) -> StepBody:
        """Return the next step and remove it from the script."""
        return self.script.popleft() if self.script else self.default

    def shown(self) -> dict[str, Any]:
        """Return the plan as JSON, with the rest of the script."""
        return {
            "latency_seconds": self.latency_seconds,
            "script": [written(step) for step in self.script],
            "default": written(self.default),
        }


class Behavior:
    """The active plans. Each valid generate call takes a step of one of them."""

    def __init__(self, latency_seconds: float) -> None:
        """Start with "ok" for every call, each after `latency_seconds`."""
        self._usual_latency = latency_seconds
        self.reset()

    def reset(self) -> None:
        """Return to the initial behaviour, without limited ones."""
        self._general = Plan(self._usual_latency)
        self._limited: dict[Limits, Plan] = {}

    def replace(self, body: bytes) -> None:
        """Set a behaviour from JSON; raise BadBody and change nothing if it is invalid."""
        try:
            new = BehaviorBody.model_validate_json(body)
        except ValidationError as error:
            raise BadBody(error) from None
        plan = Plan(new.latency_seconds, deque(new.script), new.default)
        if new.key is not None or new.model is not None:
            self._limited[new.key, new.model] = plan
            return
        if plan.latency_seconds is None:
            plan.latency_seconds = self._usual_latency
        self._general = plan

    def take(self, key: str | None = None, model: str | None = None) -> tuple[StepBody, float]:
        """Return the next step for a call with this key and model, and its latency in seconds.

        The most specific behaviour applies: that of key and model, of the key, of the model, the
        general one.
        """
        limits: tuple[Limits, ...] = ((key, model), (key, None), (None, model))
        found = (self._limited[one] for one in limits if one in self._limited)
        plan = next(found, self._general)
        step = plan.take()
        latencies = (step.latency_seconds, plan.latency_seconds, self._general.latency_seconds)
        return step, next(seconds for seconds in latencies if seconds is not None)

    def shown(self) -> dict[str, Any]:
        """Return the behaviour as JSON, with the rest of each script."""
        limited = [
            {"key": key, "model": model} | plan.shown()
            for (key, model), plan in self._limited.items()
        ]
        return self._general.shown() | {"limited": limited}
