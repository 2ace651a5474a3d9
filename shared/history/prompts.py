"""Which text of a request is archived, and records without it.

A tenant may withhold its prompts from the history. Then neither the prompt is archived nor what
may repeat it: what the provider and the webhook endpoints said, and messages made of that.
"""

from dataclasses import replace

import orjson

from shared.jobs import Job
from shared.store.archive import StoredDelivery, StoredRecord

#: Stands for the message of an error.
MESSAGE_WITHHELD = "The message was not archived, because it may repeat the prompt."
#: Fields that may repeat the prompt, such as a URL at the provider, and mean nothing for a final
#: job that cannot run again.
_LEFT_OUT = frozenset({"answer", "last_error_message"})
#: What the other models of a job would need: each has the prompt.
_ALTERNATIVES = "alternative:"


def archived_prompt(job: Job) -> str | None:
    """Return the prompt of an archived job; None if it is withheld.

    Whatever else repeats the prompt in the history, such as words to search for, is made of this.
    """
    return None if job.is_prompt_withheld else job.spec.input.get("prompt")


def archivable(stored: StoredRecord) -> StoredRecord:
    """Return the record of a job as it is to be archived."""
    return _without_prompt(stored) if stored.withholds_prompt else stored


def archivable_batch(stored: StoredRecord) -> StoredRecord:
    """Return the record of a batch as it is to be archived: what endpoints said is not."""
    if not stored.withholds_prompt:
        return stored
    return replace(stored, deliveries=tuple(map(_delivery, stored.deliveries)))


def _without_prompt(stored: StoredRecord) -> StoredRecord:
    record = {name: value for name, value in stored.record.items() if not _is_left_out(name)}
    record["spec"] = _spec(record["spec"])
    if "error_message" in record:
        record["error_message"] = MESSAGE_WITHHELD
    if "log" in record:
        record["log"] = "\n".join(map(_attempt, record["log"].split("\n")))
    if "prompt_withheld" not in record:
        # clients see a change
        record |= {"prompt_withheld": "1", "version": str(int(record["version"]) + 1)}
    return replace(stored, record=record, deliveries=tuple(map(_delivery, stored.deliveries)))


def _is_left_out(name: str) -> bool:
    return name in _LEFT_OUT or name.startswith(_ALTERNATIVES)


def _spec(text: str) -> str:
    """Return a spec without its prompt; that of a batch has none."""
    spec = orjson.loads(text)
    spec.get("input", {}).pop("prompt", None)
    return orjson.dumps(spec).decode()


def _attempt(line: str) -> str:
    """Return the line of a failed attempt without what was said."""
    *numbers, text = line.split(" ", 4)
    noted = orjson.loads(text)
    noted.pop("said", None)
    return " ".join((*numbers, orjson.dumps(noted).decode()))


def _delivery(delivery: StoredDelivery) -> StoredDelivery:
    """Return a delivery without what its endpoint said, and without messages in its snapshot."""
    record = dict(delivery.record)
    if "log" in record:
        record["log"] = "\n".join(map(_answered, record["log"].split("\n")))
    if "snapshot" in record:
        flat = orjson.loads(record["snapshot"])
        for at in range(0, len(flat), 2):
            if flat[at] == "error_message":
                flat[at + 1] = MESSAGE_WITHHELD
            elif flat[at] == "spec":
                flat[at + 1] = _spec(flat[at + 1])
        record["snapshot"] = orjson.dumps(flat).decode()
    return replace(delivery, record=record)


def _answered(line: str) -> str:
    """Return the line of an attempt of a delivery without the answer."""
    return orjson.dumps({**orjson.loads(line), "answer": ""}).decode()
