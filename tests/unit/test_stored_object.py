"""Giving a connection to the storage back, whoever lets go of it and when."""

import hashlib
import io
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest
from urllib3 import HTTPConnectionPool
from urllib3.connection import HTTPConnection
from urllib3.response import HTTPResponse

from shared.errors import ObjectDamaged, StorageDown
from shared.storage.stored_object import CHUNK_BYTES, StoredObject, verified

SECONDS = 10


class Pool(HTTPConnectionPool):
    """A pool that counts what it is given back, and says when."""

    def __init__(self, meanwhile: Callable[[], None] = lambda: None) -> None:
        super().__init__("127.0.0.1", 9, maxsize=4, block=True)
        self.released = 0
        self._meanwhile = meanwhile

    def _put_conn(self, conn: object) -> None:
        assert conn is not None
        self.released += 1
        if self.released == 1:
            self._meanwhile()


class Body(io.BytesIO):
    """Bytes that come once they may."""

    def __init__(self) -> None:
        super().__init__(bytes(3 * CHUNK_BYTES))
        self.asked, self.may_come = Event(), Event()

    def read(self, size: int | None = -1, /) -> bytes:
        self.asked.set()
        assert self.may_come.wait(SECONDS)
        return super().read(size)


def opened(pool: Pool, body: io.BytesIO) -> StoredObject:
    response = HTTPResponse(
        body, pool=pool, connection=HTTPConnection("127.0.0.1", 9), preload_content=False
    )
    return StoredObject(response, timeout_seconds=SECONDS)


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor() as executor:
        yield executor


def test_two_threads_that_close_give_the_connection_back_once(threads: ThreadPoolExecutor) -> None:
    pool = Pool(lambda: threads.submit(stored.close).result(SECONDS))
    stored = opened(pool, io.BytesIO(b"image"))
    stored.close()
    assert pool.released == 1


def test_closing_waits_for_the_read_under_way(threads: ThreadPoolExecutor) -> None:
    pool, body = Pool(), Body()
    stored = opened(pool, body)
    chunks = iter(stored)
    reading = threads.submit(next, chunks)
    assert body.asked.wait(SECONDS)
    closing = threads.submit(stored.close)
    assert not closing.done()
    body.may_come.set()
    assert len(reading.result(SECONDS)) == CHUNK_BYTES
    closing.result(SECONDS)
    assert pool.released == 1


def test_what_was_closed_is_not_read_on() -> None:
    pool = Pool()
    stored = opened(pool, io.BytesIO(bytes(3 * CHUNK_BYTES)))
    chunks = iter(stored)
    next(chunks)
    stored.close()
    with pytest.raises(StorageDown):
        next(chunks)
    assert pool.released == 1


PIECES = (b"abc", b"def", b"gh")
WHOLE = b"".join(PIECES)
SHA256 = hashlib.sha256(WHOLE).hexdigest()


@pytest.mark.parametrize("first", range(len(WHOLE)))
@pytest.mark.parametrize("length", [1, 3, len(WHOLE)])
def test_a_part_of_a_whole_object_is_cut_out_of_its_pieces(first: int, length: int) -> None:
    stop = min(first + length, len(WHOLE))
    cut_out = verified(PIECES, size=len(WHOLE), sha256=SHA256, first=first, stop=stop)
    assert b"".join(cut_out) == WHOLE[first:stop]


@pytest.mark.parametrize(
    "pieces",
    [(b"abc", b"def", b"gH"), (b"abc", b"def"), (*PIECES, b"i"), (b"aBc", b"def", b"gh"), ()],
    ids=["last bit", "short", "long", "first bit", "empty"],
)
@pytest.mark.parametrize(("first", "stop"), [(0, len(WHOLE)), (0, 1), (2, 5)])
def test_the_last_piece_of_a_damaged_object_is_not_given(
    pieces: tuple[bytes, ...], first: int, stop: int
) -> None:
    given: list[bytes] = []
    with pytest.raises(ObjectDamaged):
        given.extend(verified(pieces, size=len(WHOLE), sha256=SHA256, first=first, stop=stop))
    assert len(b"".join(given)) < stop - first


def test_of_a_longer_object_no_more_is_read_than_shows_it() -> None:
    endless = iter(lambda: b"x" * 100, b"")
    with pytest.raises(ObjectDamaged):
        list(verified(endless, size=1000, sha256=SHA256))
