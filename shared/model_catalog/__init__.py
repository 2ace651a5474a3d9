"""The catalog of models: what can be generated, read from YAML files.

`*.yaml` beside this module are the shipped models; `DARKROOM_MODELS_FILE` adds models or replaces
shipped ones by id. `docs/models.md` describes the files. The catalog belongs to the settings
(`settings.models`); everything that depends on a model reads it there.
"""

from shared.model_catalog.input_schema import (
    FAULTS_MAX,
    INTEGER,
    InputFault,
    InputSchema,
    unknown_name,
)
from shared.model_catalog.loader import BadCatalog, load_catalog, read_model
from shared.model_catalog.model import (
    CHOSEN_SEED_MAX,
    DEFAULT_MODEL,
    FALLBACKS_MAX,
    NOTHING_EXPECTED,
    SEED_MAX,
    Catalog,
    Converted,
    Expected,
    Format,
    Model,
    SizeRule,
    Source,
)
from shared.model_catalog.prices import read_prices

__all__ = [
    "CHOSEN_SEED_MAX",
    "DEFAULT_MODEL",
    "FALLBACKS_MAX",
    "FAULTS_MAX",
    "INTEGER",
    "NOTHING_EXPECTED",
    "SEED_MAX",
    "BadCatalog",
    "Catalog",
    "Converted",
    "Expected",
    "Format",
    "InputFault",
    "InputSchema",
    "Model",
    "SizeRule",
    "Source",
    "load_catalog",
    "read_model",
    "read_prices",
    "unknown_name",
]
