"""The files of the pages, read once a process, each with its type and its entity tag."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

FILES = Path(__file__).with_name("files")
#: Where files other than the pages themselves are found, below an edition.
PREFIX = "/pages"
#: What a page writes where the address of its files begins.
_FILES_PREFIX = b"{files}"
_TYPES: Mapping[str, str] = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".svg": "image/svg+xml",
    ".webp": "image/webp",
}


@dataclass(frozen=True, slots=True)
class File:
    """One file as it is sent."""

    body: bytes
    media_type: str
    etag: str


@dataclass(frozen=True, slots=True)
class StaticBundle:
    """Every file by its path below `files/`.

    `edition` is a hash of them all. It stands in the addresses of all but the pages, so that a
    browser can keep what it has for ever, and never mixes the files of two versions.
    """

    build_hash: str
    files: Mapping[str, File]

    @classmethod
    def read(
        cls,
        prefix: str = "",
        folder: Path = FILES,
        *,
        written: Mapping[str, bytes] | None = None,
    ) -> "StaticBundle":
        """Read a folder and add files `written` by the program, each by its path.

        The pages among them learn where their files are, `prefix` in front.
        """
        found = {
            path.relative_to(folder).as_posix(): path.read_bytes()
            for path in sorted(folder.rglob("*"))
            if path.suffix in _TYPES
        } | dict(written or {})
        digest = hashlib.sha256()
        for name, body in found.items():
            digest.update(b"%s\0%d\0%s" % (name.encode(), len(body), body))
        build_hash = digest.hexdigest()[:16]
        return cls(
            build_hash,
            {
                name: _file(name, body, f"{prefix}{PREFIX}/{build_hash}")
                for name, body in found.items()
            },
        )


def _file(name: str, body: bytes, path: str) -> File:
    suffix = Path(name).suffix
    if suffix == ".html":
        body = body.replace(_FILES_PREFIX, path.encode())
    return File(body, _TYPES[suffix], f'"{hashlib.sha256(body).hexdigest()[:32]}"')
