"""The pictures that were drawn lately, so that fetching one again costs nothing."""

import asyncio
from collections import OrderedDict

from sandbox.provider.picture import Picture

KEPT_BYTES = 32_000_000


class Gallery:
    """Draws pictures beside the event loop and keeps the latest."""

    def __init__(self, kept_bytes: int = KEPT_BYTES) -> None:
        """Keep encoded pictures of up to `kept_bytes` together."""
        self._kept_bytes = kept_bytes
        self._held_bytes = 0
        self._pictures: OrderedDict[Picture, bytes] = OrderedDict()

    async def take(self, picture: Picture) -> bytes:
        """Give the encoded picture."""
        found = self._pictures.get(picture)
        if found is None:
            found = await asyncio.to_thread(picture.encode)
            self._keep(picture, found)
        return found

    def _keep(self, picture: Picture, encoded: bytes) -> None:
        if picture in self._pictures:  # drawn twice at once: the bytes are the same
            return
        self._pictures[picture] = encoded
        self._held_bytes += len(encoded)
        while self._held_bytes > self._kept_bytes:
            _, oldest = self._pictures.popitem(last=False)
            self._held_bytes -= len(oldest)
