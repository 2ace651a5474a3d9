"""A cache of rendered images, so that repeated downloads cost nothing."""

import asyncio
from collections import OrderedDict

from sandbox.provider.image_rendering import RenderedImage

MAX_BYTES = 32_000_000


class ImageCache:
    """Render images outside of the event loop and keep the latest."""

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        """Keep encoded images of up to `max_bytes` in total."""
        self._max_bytes = max_bytes
        self._held_bytes = 0
        self._images: OrderedDict[RenderedImage, bytes] = OrderedDict()

    async def take(self, image: RenderedImage) -> bytes:
        """Return the encoded image."""
        found = self._images.get(image)
        if found is None:
            found = await asyncio.to_thread(image.encode)
            self._store(image, found)
        return found

    def _store(self, image: RenderedImage, encoded: bytes) -> None:
        if image in self._images:  # rendered twice at once: the bytes are the same
            return
        self._images[image] = encoded
        self._held_bytes += len(encoded)
        while self._held_bytes > self._max_bytes:
            _, oldest = self._images.popitem(last=False)
            self._held_bytes -= len(oldest)
