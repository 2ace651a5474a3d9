"""The files of the pages, read once per process, with types and entity tags."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

FILES = Path(__file__).with_name("files")
#: The path below which all files except the pages are found, followed by a version.
PREFIX = "/pages"
#: The placeholder for the path of the files in a page.
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
    """All files by their path below `files/`.

    `version` is a hash of all files. It is part of every path except those of the pages, so that
    browsers can cache files forever without mixing two versions.
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
        """Read a folder and add generated files (`written`), each by its path.

        The pages get the path of their files, with `prefix`.
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
