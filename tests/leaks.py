"""Looks through the logs of every process that the tests started for what must never be in one."""

import re
from collections.abc import Iterator
from pathlib import Path

#: Files that processes wrote their words to; not what `darkroom up` shows whoever sits before it,
#: where the keys are the point.
_LOGS = ("*.log", "log")
#: By what it is; prompts are told by what the tests' own begin with.
_SECRETS = {
    "an API key": re.compile(rb"dk_[0-9a-z]{12}_[0-9a-z]{40}"),
    "a webhook secret": re.compile(rb"whsec_[A-Za-z0-9+/]{16}"),
    "a signed address": re.compile(rb"X-(?:Amz-)?Signature=[0-9a-f]", re.IGNORECASE),
    "a storage secret": re.compile(rb"darkroom-tests-secret-key"),
    "a prompt": re.compile(rb"Fault \w* ?picture \d+ of|A lighthouse at dawn"),
}


def leaks(root: Path) -> tuple[int, list[str]]:
    """Give how many logs stand below `root`, and a sentence for each that gives something away."""
    logs = sorted({path for name in _LOGS for path in root.rglob(name) if path.is_file()})
    return len(logs), [leak for path in logs for leak in _leaks_of(path)]


def _leaks_of(path: Path) -> Iterator[str]:
    text = path.read_bytes()
    for what, pattern in _SECRETS.items():
        found = pattern.search(text)
        if found:
            line = text.count(b"\n", 0, found.start()) + 1
            yield f"{path}:{line} has {what} in it"
