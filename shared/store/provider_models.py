"""The models that the provider lists: read now and then, and compared with the catalog."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from shared.store import operations
from shared.store.command import Command

#: What the provider calls a model that can be called.
ACTIVE = "active"
#: The status of a model that is not in the list.
NOT_LISTED = "not listed"
_PREFIX = "model:"


@dataclass(frozen=True, slots=True)
class ListedModel:
    """A model in the provider's list: its status in lower case, and credits a call, if listed."""

    id: str
    status: str
    credits: float | None

    @property
    def is_active(self) -> bool:
        """Whether the provider says that it can be called."""
        return self.status == ACTIVE


@dataclass(frozen=True, slots=True)
class ProviderModels:
    """The provider's list; `checked_at` in milliseconds, None before it was first read.

    `error` is why the last check failed.
    """

    models: Mapping[str, ListedModel]
    checked_at: int | None
    error: str | None

    def status(self, model: str) -> str:
        """Return the status of a model."""
        return self.models[model].status if model in self.models else NOT_LISTED

    def inactive(self, models: Iterable[str]) -> dict[str, str]:
        """Return which of these models cannot be called, with their status."""
        found = {model: self.status(model) for model in models}
        is_known = self.checked_at is not None
        return {model: status for model, status in found.items() if is_known and status != ACTIVE}


def begin_models_check(interval_seconds: float) -> Command[bool]:
    """Return whether this process is to read the list: one does in each interval."""
    return Command(operations.BeginModelsCheck(interval_seconds * 1000), lambda reply: reply == "1")


def record_provider_models(models: Iterable[ListedModel]) -> Command[None]:
    """Record the list."""
    flat = tuple(
        part
        for one in models
        for part in (one.id, one.status, "" if one.credits is None else f"{one.credits:g}")
    )
    return Command(operations.RecordProviderModels("", flat), lambda _: None)


def record_models_error(error: str) -> Command[None]:
    """Record why the list could not be read; what was read before stays."""
    return Command(operations.RecordProviderModels(error, ()), lambda _: None)


def read_record(record: Mapping[str, str]) -> ProviderModels:
    """Parse the stored record."""
    checked = record.get("checked")
    models = (
        _listed(name.removeprefix(_PREFIX), value)
        for name, value in record.items()
        if name.startswith(_PREFIX)
    )
    return ProviderModels(
        {one.id: one for one in models}, int(checked) if checked else None, record.get("error")
    )


def _listed(model_id: str, value: str) -> ListedModel:
    status, _, credits_each = value.rpartition(" ")  # a status may have spaces
    return ListedModel(model_id, status, float(credits_each) if credits_each else None)
