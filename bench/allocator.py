"""The memory allocator of the Valkeys that are measured: jemalloc, as in the images of Valkey.

The Valkey of the Python wheel uses the allocator of the C library, which no production server of
Valkey does.
"""

from collections.abc import Mapping
from functools import cache
from pathlib import Path

from tests.deploy import debian

_LIBRARY, _PACKAGE = "libjemalloc.so.2", "libjemalloc2"


@cache
def _library() -> Path | None:
    return debian.found(_LIBRARY, _PACKAGE)


def preloaded() -> Mapping[str, str]:
    """Return the environment in which a Valkey uses jemalloc; empty where there is none."""
    library = _library()
    return {"LD_PRELOAD": str(library)} if library else {}


def name() -> str:
    """Return the name of the allocator, and what to install where it is not jemalloc."""
    if _library():
        return "jemalloc"
    return f"the C library's allocator (for jemalloc: apt-get install {_PACKAGE})"
