"""Check that no name uses a word which `docs/glossary.md` retires: `python -m tests.support.names`.

Checked are the names of files, Python modules, classes, functions, settings, metrics, Redis keys
and scripts, and functions in Lua and JavaScript. Names of tests are sentences, and are not checked.
"""

import ast
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from shared.settings import PREFIX, Settings

ROOT = Path(__file__).resolve().parents[2]
GLOSSARY = ROOT / "docs" / "glossary.md"
#: Where the project's own sources are.
FOLDERS = ("api", "bench", "cli", "client", "deploy", "sandbox", "shared", "tests", "worker")
_SKIPPED = frozenset({"node_modules", "__pycache__"})
_CODE = re.compile(r"`([a-z]+)`")
_METRIC = re.compile(r'"(darkroom_[a-z_]+)"')
_KEY_PATTERN = re.compile(r'\bKey\(\s*"([^"]+)"')
_LUA_FUNCTION = re.compile(r"\bfunction ([\w.]+)")
_JS_NAME = re.compile(r"\b(?:function|class) (\w+)")
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


def retired_words(glossary: str) -> frozenset[str]:
    """Return the words of the table's third column that are marked as code."""
    rows = (line.split("|") for line in glossary.splitlines() if line.startswith("| "))
    return frozenset(word for row in rows for word in _CODE.findall(row[3]))


def words_of(name: str) -> set[str]:
    """Split a name in any of the usual forms into words, in lower case."""
    return set(re.split(r"[^a-z0-9]+", _HUMP.sub("_", name).lower()))


def names(root: Path = ROOT) -> Iterator[tuple[str, str]]:
    """Yield every checked name with where it stands."""
    for path in _sources(root):
        where = str(path.relative_to(root))
        yield where, path.name
        if path.suffix in _READERS:
            for name in _READERS[path.suffix](path.read_text("utf-8")):
                yield where, name
    for setting in Settings.model_fields:
        yield "shared/settings.py", f"{PREFIX}{setting.upper()}"


def _sources(root: Path) -> Iterator[Path]:
    for folder in FOLDERS:
        for path in sorted((root / folder).rglob("*")):
            if path.is_file() and not _SKIPPED & set(path.parts):
                yield path


def _in_python(text: str) -> Iterator[str]:
    yield from (*_METRIC.findall(text), *_KEY_PATTERN.findall(text))
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and not (
            node.name.startswith("test_")
        ):
            yield node.name


def _in_lua(text: str) -> Iterable[str]:
    return _LUA_FUNCTION.findall(text)


def _in_javascript(text: str) -> Iterable[str]:
    return _JS_NAME.findall(text)


_READERS: Mapping[str, Callable[[str], Iterable[str]]] = {
    ".py": _in_python,
    ".lua": _in_lua,
    ".js": _in_javascript,
}


def main() -> int:
    """Print each name with a retired word; return 1 if there is one."""
    retired = retired_words(GLOSSARY.read_text("utf-8"))
    found = [
        f"{where}: {name} uses {', '.join(sorted(words))}"
        for where, name in names()
        if (words := words_of(name) & retired)
    ]
    for line in dict.fromkeys(found):
        sys.stderr.write(f"{line}: see docs/glossary.md\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
