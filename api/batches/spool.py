"""Store the entries of a body until its end in bounded memory."""

import tempfile
from collections.abc import Iterator

#: Up to this size, entries stay in memory.
SPOOL_MEMORY_BYTES = 256 * 1024
_LENGTH_BYTES = 4


class Spool:
    """Store texts in memory, and from a certain size on in a file."""

    def __init__(self) -> None:
        self._file = tempfile.SpooledTemporaryFile(SPOOL_MEMORY_BYTES)  # noqa: SIM115  closed by close
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[bytes]:
        """Yield the texts in the order of arrival."""
        self._file.seek(0)
        while length := self._file.read(_LENGTH_BYTES):
            yield self._file.read(int.from_bytes(length))

    def append(self, text: bytes) -> None:
        """Append a text."""
        self._file.write(len(text).to_bytes(_LENGTH_BYTES))
        self._file.write(text)
        self._count += 1

    def close(self) -> None:
        """Release memory and file."""
        self._file.close()
