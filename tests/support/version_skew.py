"""Another version of this very code, as different as two that may run at once can be.

All of its scripts have other texts, it stores fields that this one does not know, and it reports
another version everywhere. Once there is a release, its tag can be used instead:
`git archive v0.1.0 | tar -x -C tree`.
"""

import shutil
from pathlib import Path

from tests.deploy.compose import ROOT

NEXT = "99.0.0"
#: A field of a job that was accepted, and one of a job that was claimed, by the other version.
ACCEPTED, CLAIMED = "tint", "seen_by"

#: By file: texts, each with its replacement.
_CHANGES = {
    "shared/lua/lib/clock.lua": [("local M = {}\n", f"local M = {{}} -- of {NEXT}\n")],
    "shared/lua/lib/jobs_create.lua": [
        ("    run = '1',\n    fence", f"    run = '1',\n    {ACCEPTED} = 'new',\n    fence")
    ],
    "shared/lua/lib/job_claims.lua": [
        (
            "if first then outbox.add",
            f"redis.call('HSET', keys.job(job.id), '{CLAIMED}', '{NEXT}') if first then outbox.add",
        )
    ],
    "shared/metrics.py": [('version("darkroom-service")', f'"{NEXT}"')],
    "shared/net/http_client.py": [("{version('darkroom-service')}", NEXT)],
}


def next_version(tree: Path) -> Path:
    """Write the other version into the folder `tree`; return it."""
    for context in ("api", "shared", "worker"):
        shutil.copytree(
            ROOT / context, tree / context, ignore=shutil.ignore_patterns("__pycache__")
        )
    for name, changes in _CHANGES.items():
        text = (tree / name).read_text(encoding="utf-8")
        for stands, instead in changes:
            assert stands in text, f"{name} has changed: there is no {stands!r} any more"
            text = text.replace(stands, instead)
        (tree / name).write_text(text, encoding="utf-8")
    return tree
