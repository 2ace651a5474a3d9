"""The history: final jobs, their batches and webhook deliveries, in SQL."""

from typing import TYPE_CHECKING

from shared.settings import Settings

if TYPE_CHECKING:
    from shared.history.database import Database


def open_database(settings: Settings, *, connections: int) -> "Database | None":
    """Return the database of the history; None if there is no history."""
    if not settings.history_url:
        return None
    from shared.history.database import Database  # noqa: PLC0415  SQLAlchemy takes 0.3 s to load

    return Database(
        settings.history_url,
        timeout_seconds=settings.history_timeout_seconds,
        ca_bundle=settings.ca_bundle,
        connections=connections,
    )
