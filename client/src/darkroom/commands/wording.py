"""Error messages that name the program's options instead of JSON members and headers."""

from darkroom.errors import DarkroomError, Fault, InvalidInput, Unauthorized
from darkroom.options import JobOptions, option_of

#: Arguments without an option name.
_PLAIN = {"prompt": "PROMPT", "url": "URL"}
#: Parameters of models that have an option of their own.
_OPTIONAL = JobOptions.__annotations__.keys() | _PLAIN.keys()
_UNAUTHENTICATED = "unauthenticated"


def sentence_of(error: DarkroomError) -> str:
    """Describe an error, and the option to change."""
    if isinstance(error, InvalidInput) and error.faults:
        return "; ".join(dict.fromkeys(map(_fault, error.faults))) + "."
    if isinstance(error, Unauthorized) and error.code == _UNAUTHENTICATED:
        reason = str(error).partition("Send `Authorization")[0]
        return (
            f"{reason}Pass a valid key (dk_...) with --key or "
            "DARKROOM_API_KEY (DARKROOM_OPS_KEY for queues)."
        )
    return str(error)


def _fault(fault: Fault) -> str:
    """Replace the JSON pointer of a fault by its option; deeper steps follow it."""
    steps = [step for step in fault.pointer.split("/") if step]
    if steps[:1] == ["jobs"]:  # variations: all share the options of the one prompt
        steps = steps[2:]
    if steps[:1] == ["input"] and len(steps) > 1 and steps[1] not in _OPTIONAL:
        return f"--input {steps[1]} {fault.message}"
    if steps[:1] in (["input"], ["query"]):
        steps = steps[1:]
    if not steps:
        return f"The request {fault.message}"
    name, *rest = steps
    return " ".join([_PLAIN.get(name) or option_of(name), *rest, fault.message])
