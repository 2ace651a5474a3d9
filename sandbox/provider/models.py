"""The models that the provider offers: those of the catalog, and how they differ.

`PUT /_sandbox/models` sets the differences.
"""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sandbox.provider.behavior import BadBody
from shared.model_catalog import Catalog, Model, read_model

#: The approximate cost of one image, in the provider's credits.
CREDITS_PER_IMAGE = 105.0


class ModelsBody(BaseModel):
    """The body of `PUT /_sandbox/models`; `{}` restores the catalog.

    `models` are added, or replace those of the catalog, in the form of a catalog file. `disabled`
    ones are listed as DISABLED; calls of these and of `removed` ones are refused. `credits` are the
    listed prices, by id.
    """

    model_config = ConfigDict(extra="forbid", strict=True)

    models: list[dict[str, Any]] = []
    disabled: list[str] = []
    removed: list[str] = []
    credits: dict[str, Annotated[float, Field(ge=0)]] = {}


class Models:
    """The offered models."""

    def __init__(self, catalog: Catalog) -> None:
        """Offer the models of a catalog."""
        self._catalog = catalog
        self._chosen = ModelsBody()
        #: what `GET /models` lists, and of this what can be called
        self.listed = self.active = catalog

    def price_of(self, model: Model) -> float:
        """Return the listed price of a model."""
        return self._chosen.credits.get(model.id, CREDITS_PER_IMAGE)

    def replace(self, body: bytes) -> None:
        """Set the differences from JSON; raise BadBody and change nothing if it is invalid."""
        try:
            new = ModelsBody.model_validate_json(body)
        except ValidationError as error:
            raise BadBody(error) from None
        added = self._read(new)
        offered = {**self._catalog, **{model.id: model for model in added}}
        self._chosen = new
        self.listed = {name: one for name, one in offered.items() if name not in new.removed}
        self.active = {name: one for name, one in self.listed.items() if name not in new.disabled}

    def _read(self, new: ModelsBody) -> list[Model]:
        found = [read_model(definition) for definition in new.models]
        faults = [
            (f"/models/{number}/{member.replace('.', '/')}", words)
            for number, one in enumerate(found)
            if isinstance(one, list)
            for member, words in one
        ]
        if faults:
            raise BadBody(faults)
        return [one for one in found if isinstance(one, Model)]

    def shown(self) -> dict[str, Any]:
        """Return the differences as JSON."""
        return self._chosen.model_dump()
