"""The operator's prices of models."""

from shared.model_catalog.model import CREDITS_MAX, Catalog


def read_prices(written: str, models: Catalog | None) -> dict[str, str]:
    """Parse `model=credits,…`, the numbers as written; raise ValueError that names every mistake.

    Without `models`, any name is accepted.
    """
    found: dict[str, str] = {}
    faults = []
    for part in filter(None, (part.strip() for part in written.split(","))):
        name, _, credits_each = (side.strip() for side in part.rpartition("="))
        if models is not None and name not in models:
            faults.append(f"{part} does not begin with a model")
        elif name in found:
            faults.append(f"{name} is named twice")
        elif not _is_price(credits_each):
            faults.append(f"{part} does not end with a number from 0 to {CREDITS_MAX:,}")
        found[name] = credits_each
    if faults:
        rule = f"write model=credits,… with the models {', '.join(models or found)}"
        raise ValueError(f"{'; '.join(faults)}; {rule}")
    return found


def _is_price(text: str) -> bool:
    try:
        return 0 <= float(text) <= CREDITS_MAX
    except ValueError:
        return False
