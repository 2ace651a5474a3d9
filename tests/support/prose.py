"""Check what users and operators read: `python -m tests.support.prose`.

In the pages, the runbooks, the alerts and the descriptions of settings no retired word of
`docs/glossary.md`, no literary word and no overlong sentence may stand. Code is not read.
"""

import re
import sys
from collections.abc import Iterator
from typing import Any

import yaml

from shared.settings import Settings
from tests.support.names import GLOSSARY, ROOT, retired_words

#: Words in one sentence at most.
LONGEST = 45
#: Words that slow readers down, with what to write instead.
LITERARY = {
    "anew": "again",
    "whoever": "name the actor",
    "whatever": "name the thing",
    "whosesoever": "of any tenant",
    "meanwhile": "in the meantime, or leave it out",
    "for ever": "forever, or without limit",
    "thereby": "so",
    "hereby": "leave it out",
    "whereupon": "then",
    "lest": "so that … not",
    "nobody": "name who does not",
    "none of ours": "name it",
    "is told": "is informed, or receives",
    "are told": "are informed, or receive",
}
#: Retired words that are plain English in other senses.
_PLAIN = frozenset(
    {
        "apart",
        "copy",
        "give",
        "gives",
        "room",
        "rooms",
        "door",
        "doors",
        "hook",
        "hooks",
        "mind",
        "news",
    }
)
_PAGES = (
    "*.md",
    "docs/*.md",
    "deploy/**/*.md",
    "client/*.md",
    "client-ts/*.md",
    "tests/faults/*.md",
)
_SKIPPED = frozenset({"CHANGELOG.md", "docs/glossary.md", "docs/redis.md"})


def texts() -> Iterator[tuple[str, str]]:
    """Yield every paragraph that is checked, with where it stands."""
    for path in sorted({page for pattern in _PAGES for page in ROOT.glob(pattern)}):
        name = str(path.relative_to(ROOT))
        if name not in _SKIPPED and "node_modules" not in path.parts:
            for line, paragraph in _paragraphs(path.read_text("utf-8")):
                yield f"{name}:{line}", paragraph
    for name, field in Settings.model_fields.items():
        yield f"shared/settings.py: {name}", field.description or ""
    yield from _alerts()


def _alerts() -> Iterator[tuple[str, str]]:
    for path in sorted((ROOT / "deploy" / "prometheus" / "rules").glob("*.yml")):
        groups: list[dict[str, Any]] = yaml.safe_load(path.read_text("utf-8"))["groups"]
        for rule in (rule for group in groups for rule in group["rules"]):
            for text in rule.get("annotations", {}).values():
                yield f"{path.name}: {rule['alert']}", str(text)


def _paragraphs(markdown: str) -> Iterator[tuple[int, str]]:
    """Yield the paragraphs, list entries and cells of a page, without code."""
    start, lines, in_code = 1, list[str](), False
    for number, line in enumerate([*markdown.splitlines(), ""], 1):
        fence = line.lstrip().startswith("```")
        breaks = not line.strip() or re.match(r"\s*(?:[-*#|<]|\d+\.)", line)
        if (breaks or fence or in_code) and lines:
            yield start, " ".join(lines)
            lines = []
        in_code = in_code != fence
        if in_code or fence:
            continue
        if line.startswith("|"):
            yield from ((number, cell.strip()) for cell in line.split("|"))
        elif line.strip():
            start = start if lines else number
            lines.append(line.strip())


def faults(text: str, retired: frozenset[str]) -> Iterator[str]:
    """Yield what is wrong with a paragraph."""
    plain = re.sub(r"`[^`]*`|https?://\S+|\(\S+\.\w+(?:#[\w-]+)?\)", "X", text)
    words = {*re.findall(r"[a-z]+", plain.lower())}
    for word in sorted(words & (retired - _PLAIN)):
        yield f"“{word}” is retired: see docs/glossary.md"
    for phrase, instead in LITERARY.items():
        if re.search(rf"\b{phrase}\b", plain, re.IGNORECASE):
            yield f"“{phrase}”: write {instead}"
    for sentence in re.split(r"(?<=[.:;!?])\s+(?=[A-Z`*\[“])", plain):
        count = len(re.findall(r"\w[\w'-]*", sentence))
        if count > LONGEST:
            yield f"a sentence of {count} words, at most {LONGEST}: {sentence[:60]}…"


def main() -> int:
    """Print every fault; return how the process ends."""
    retired = retired_words(GLOSSARY.read_text("utf-8"))
    found = [f"{where}: {fault}" for where, text in texts() for fault in faults(text, retired)]
    sys.stdout.write("".join(f"{line}\n" for line in found))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
