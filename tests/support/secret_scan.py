"""Search the logs of every process that the tests started for secrets and prompts."""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

#: Files with the output of processes; without what `darkroom up` prints on the terminal, which has
#: keys on purpose.
_LOGS = ("*.log", "log")
#: By kind of secret; prompts are recognized by how those of the tests begin.
_SECRETS = {
    "an API key": re.compile(rb"dk_[0-9a-z]{12}_[0-9a-z]{40}"),
    "a webhook secret": re.compile(rb"whsec_[A-Za-z0-9+/]{16}"),
    "a signed address": re.compile(rb"X-(?:Amz-)?Signature=[0-9a-f]", re.IGNORECASE),
    "a storage secret": re.compile(rb"darkroom-tests-secret-key"),
    "a prompt": re.compile(
        rb"Fault \w* ?image \d+ of|A lighthouse|Lighthouse \d|Mixed image number|Boat \d"
        rb"|A sleek electric sports car|An astronaut riding|A gull|A crab|a heron"
    ),
}


def leaks(root: Path) -> tuple[int, list[str]]:
    """Return how many logs are below `root`, and a sentence for each one with a secret."""
    logs = _logs(root)
    found = [leak for path in logs for leak in _leaks_of(path, _SECRETS)]
    for keys in root.rglob("keys.json"):
        found += [leak for path in _logs(keys.parent) for leak in _leaks_of(path, _kept(keys))]
    return len(logs), found


def _logs(root: Path) -> list[Path]:
    return sorted({path for name in _LOGS for path in root.rglob(name) if path.is_file()})


def _kept(keys: Path) -> dict[str, re.Pattern[bytes]]:
    """Return the random secret that a stack made for its storage, which no pattern recognizes."""
    secret = json.loads(keys.read_bytes()).get("s3", {}).get("secret_key", "")
    return {"the stack's storage secret": re.compile(re.escape(secret.encode()))} if secret else {}


def _leaks_of(path: Path, secrets: Mapping[str, re.Pattern[bytes]]) -> Iterator[str]:
    text = path.read_bytes()
    for what, pattern in secrets.items():
        found = pattern.search(text)
        if found:
            line = text.count(b"\n", 0, found.start()) + 1
            yield f"{path}:{line} has {what} in it"
