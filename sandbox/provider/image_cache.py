"""The images that were drawn lately, so that fetching one again costs nothing."""

import asyncio
from collections import OrderedDict

from sandbox.provider.image_rendering import RenderedImage

MAX_BYTES = 32_000_000


class ImageCache:
    """Draws images beside the event loop and keeps the latest."""

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        """Keep encoded images of up to `kept_bytes` together."""
        self._max_bytes = max_bytes
        self._held_bytes = 0
        self._images: OrderedDict[RenderedImage, bytes] = OrderedDict()

    async def take(self, image: RenderedImage) -> bytes:
        """Give the encoded image."""
        found = self._images.get(image)
        if found is None:
            found = await asyncio.to_thread(image.encode)
            self._store(image, found)
        return found

    def _store(self, image: RenderedImage, encoded: bytes) -> None:
        if image in self._images:  # drawn twice at once: the bytes are the same
            return
        self._images[image] = encoded
        self._held_bytes += len(encoded)
        while self._held_bytes > self._max_bytes:
            _, oldest = self._images.popitem(last=False)
            self._held_bytes -= len(oldest)
