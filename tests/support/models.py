"""The shipped models, for tests that take one as their example."""

from pathlib import Path

from shared.model_catalog import DEFAULT_MODEL, load_catalog
from shared.model_catalog.model import ratios, values_of

CATALOG = load_catalog()
KLEIN = CATALOG[DEFAULT_MODEL]
OTHER_MODEL = "black-forest-labs/flux-2-klein-4b"
KLEINS = (DEFAULT_MODEL, OTHER_MODEL)
#: Width divided by height by ratio, of the Klein models.
RATIOS = ratios(values_of(KLEIN.parameters.properties["aspect_ratio"]))
#: A catalog file with one model that resembles none of the shipped ones.
OTHER_MODEL_FILE = Path(__file__).with_name("other_model.yaml")
