"""Rows of the history: written from records of Redis, and read back."""

from collections.abc import Mapping
from typing import Any

import orjson

from shared.history.prompts import archived_prompt
from shared.history.terms import terms_of_record
from shared.jobs import DOUBTFUL, Job
from shared.store.archive import StoredRecord
from shared.store.audit import Entry as AuditEntry
from shared.store.audit import EntryId
from shared.store.codec import job_of, prompt_words, request_hash, spec_of, tags_text
from shared.store.delivery_log import Entry, entry_of
from shared.store.run_counts import Kind, Sums

#: Fields of the record of a live job or batch that say nothing about an archived one.
_LIVE_ONLY = frozenset({"archived", "sending_delivery", "words"})
#: The beginning of fields of which there is one for each standing endpoint.
_LIVE_ONLY_PREFIX = "sending_delivery:"


def job_row(stored: StoredRecord) -> dict[str, Any]:
    """Return the row of a job, as `archivable` returned it."""
    record = _lasting(stored.record)
    job = job_of(stored.id, record)
    has_image = job.image is not None and job.image_deleted_at is None
    reusable = (
        job.image
        if has_image
        and job.image
        and not DOUBTFUL & {*job.image.warnings}
        and archived_prompt(job) is not None
        else None
    )
    return {
        "id": job.id,
        "tenant": job.tenant,
        "status": job.state.value,
        "model": job.spec.model,
        "served_model": job.served_model,
        "version": job.version,
        "created": job.created_at,
        "finished": job.finished_at,
        "expires": job.expires_at,
        "image_expires": job.image_expires_at if has_image else None,
        "image_deleted": job.image_deleted_at,
        "object": job.image.key if has_image and job.image else None,
        "batch": job.batch_id,
        "error_code": job.error_code,
        "request_hash": request_hash(job.spec, job.model) if reusable else None,
        "record": orjson.dumps(record).decode(),
    }


def _lasting(record: Mapping[str, str]) -> dict[str, str]:
    return {
        name: value
        for name, value in record.items()
        if name not in _LIVE_ONLY and not name.startswith(_LIVE_ONLY_PREFIX)
    }


def next_version(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the row of a job with its version incremented."""
    record: dict[str, str] = orjson.loads(row["record"])
    record["version"] = str(row["version"] + 1)
    return {**row, "version": row["version"] + 1, "record": orjson.dumps(record).decode()}


def term_rows(job_id: str, record: Mapping[str, str]) -> list[dict[str, str]]:
    """Return a row for each term of a job."""
    tenant = record["tenant"]
    return [{"term": term, "tenant": tenant, "job": job_id} for term in terms_of_record(record)]


def batch_row(stored: StoredRecord) -> dict[str, str]:
    """Return the row of a batch."""
    record = orjson.dumps(_lasting(stored.record)).decode()
    return {"id": stored.id, "tenant": stored.record["tenant"], "record": record}


def delivery_rows(stored: StoredRecord) -> list[dict[str, Any]]:
    """Return the rows of the deliveries of a job or batch."""
    return [
        {
            "id": one.id,
            "subject": stored.id,
            "tenant": one.record["tenant"],
            "host": one.record["host"],
            "state": one.record["state"],
            "created": int(one.record["created"]),
            "finished": int(one.record["finished"]),
            "url": one.url,
            "record": orjson.dumps(one.record).decode(),
        }
        for one in stored.deliveries
    ]


def usage_row(kind: Kind, sums: Sums) -> dict[str, Any]:
    """Return the row of one kind of ended runs."""
    return {
        "tenant": kind.tenant,
        "day": kind.day,
        "status": kind.status,
        "model": kind.model,
        "key": kind.key,
        "tags": tags_text(kind.tags),
        "jobs": sums.jobs,
        "calls": sums.calls,
        "credits": sums.credit_parts,
    }


def audit_row(entry: AuditEntry) -> dict[str, Any]:
    """Return the row of an audit entry."""
    return {
        "at": entry.id.at,
        "number": entry.id.number,
        "by": entry.by,
        "request": entry.request_id,
        "action": entry.action,
        "target": entry.target,
        "detail": orjson.dumps(entry.detail).decode(),
    }


def audit_entry_from(row: Mapping[str, Any]) -> AuditEntry:
    """Return the audit entry of a row."""
    return AuditEntry(
        id=EntryId(row["at"], row["number"]),
        by=row["by"],
        request_id=row["request"],
        action=row["action"],
        target=row["target"],
        detail=orjson.loads(row["detail"]),
    )


def record_of(row: Mapping[str, Any]) -> dict[str, str]:
    """Return the record of a job's row, with the present times of its retention."""
    record: dict[str, str] = orjson.loads(row["record"])
    for field in ("expires", "image_expires", "image_deleted"):
        record.pop(field, None)
        if row[field] is not None:
            record[field] = str(row[field])
    return record


def restored_record_of(row: Mapping[str, Any]) -> dict[str, str]:
    """Return the record of a job's row to write back to Redis."""
    record = record_of(row)
    words = prompt_words(spec_of(record))
    return {**record, "words": words} if words else record


def job_from(row: Mapping[str, Any]) -> Job:
    """Return the job of a row."""
    return job_of(row["id"], record_of(row))


def entry_from(row: Mapping[str, Any], *, whole: bool) -> Entry:
    """Return the delivery of a row: with all its attempts, or only the last."""
    record: dict[str, str] = orjson.loads(row["record"])
    if not whole and "log" in record:
        record["log"] = record["log"].rpartition("\n")[2]
    return entry_of(row["id"], row["url"] + record.get("query", ""), record)
