"""Images of the pages for the documentation: `make screenshots`."""

import io
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page

FOLDER = Path(__file__).parents[2] / "docs" / "screenshots"
_QUALITY = 82


def shoot(page: Page, name: str) -> None:
    """Keep what is on the screen as `docs/screenshots/NAME.webp`."""
    page.mouse.move(0, 0)
    FOLDER.mkdir(exist_ok=True)
    with Image.open(io.BytesIO(page.screenshot())) as image:
        image.save(FOLDER / f"{name}.webp", quality=_QUALITY, method=6)
