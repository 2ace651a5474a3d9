"""Read the provider's list of models now and then, and report how it differs from the catalog.

The list decides nothing: a model that is missing there is called as before, until the provider
refuses a call.
"""

from collections.abc import Iterator, Mapping

from shared.errors import JobError
from shared.logs import log
from shared.store.job_queries import service_stats
from shared.store.provider_models import (
    ACTIVE,
    NOT_LISTED,
    ListedModel,
    begin_models_check,
    record_models_error,
    record_provider_models,
)
from worker.context import WorkerContext

_LOG = log(__name__)

#: How often a process looks whether a check is due.
INTERVAL_SECONDS = 10.0


class ModelsCheck:
    """Check the models that the provider lists."""

    def __init__(self, context: WorkerContext) -> None:
        """Take the catalog, the provider and the store."""
        self._context = context

    def check(self) -> None:
        """Read the list if it is due, record it, and log what changed. Raise StoreError."""
        run, settings = self._context.store.run, self._context.settings
        if not run(begin_models_check(settings.models_check_seconds)):
            return
        try:
            listed = self._context.provider.list_models()
        except JobError as error:
            run(record_models_error(str(error)))
            _LOG.warning("provider models not read", error=str(error))
            return
        before = run(service_stats()).provider_models
        run(record_provider_models(listed))
        now = {one.id: one for one in listed}
        known = before.models if before.checked_at is not None else None
        for change in changes(settings.models, known, now):
            _LOG.warning("provider model changed", **change)


def changes(
    catalog: Mapping[str, object],
    before: Mapping[str, ListedModel] | None,
    now: Mapping[str, ListedModel],
) -> Iterator[dict[str, object]]:
    """Yield what changed since `before` (None: not read yet) of the models of the catalog.

    Models that are missing or disabled are also reported by the first check.
    """
    for model in catalog:
        old, new = (before or {}).get(model), now.get(model)
        was_active = before is None or (old is not None and old.is_active)
        is_active = new is not None and new.is_active
        if was_active and not is_active:
            yield {"model": model, "status": new.status if new else NOT_LISTED}
        elif is_active and not was_active:
            yield {"model": model, "status": ACTIVE}
        if old and new and old.credits != new.credits:
            yield {"model": model, "credits": new.credits, "credits_before": old.credits}
    for model in now.keys() - (before.keys() if before is not None else now.keys()):
        if model not in catalog:
            yield {"model": model, "status": "new"}
