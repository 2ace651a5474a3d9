"""`darkroom provider-keys`: the keys of 1min.ai that running workers use.

Like the other commands for operators, they work on the Redis of DARKROOM_REDIS_URL directly. `add`
and `reseal` need the DARKROOM_SEAL_KEYS that the workers have.
"""

import sys
from getpass import getpass
from pathlib import Path
from typing import Annotated

import cyclopts

from cli.printing import Json, print_facts, print_table

provider_keys = cyclopts.App(help="Manage the provider keys that running workers use.")

_COLUMNS = ("id", "masked", "team", "label", "source", "state", "held_by", "last_seen_at")
_STDIN = Path("-")


@provider_keys.command(name="list")
def list_provider_keys(*, json: Json = False) -> None:
    """List the provider keys, masked: of the workers' environment, and those that were added."""
    from cli import admin  # noqa: PLC0415  imported late, so that `--help` is fast

    print_table(admin.list_provider_keys(), _COLUMNS, json=json)


@provider_keys.command
def add(
    file: Annotated[
        Path,
        cyclopts.Parameter(
            allow_leading_hyphen=True, help="A file that holds the key; `-`: standard input."
        ),
    ] = _STDIN,
    /,
    *,
    team: Annotated[
        str | None, cyclopts.Parameter(help="Keys of one team share its credits.")
    ] = None,
    label: str | None = None,
    json: Json = False,
) -> None:
    """Add a key of 1min.ai, or change the team or label of a stored one.

    Workers use it within three seconds. It is stored sealed, and never shown.
    """
    from cli import admin  # noqa: PLC0415

    try:
        secret = _read(file)
    except (OSError, UnicodeDecodeError) as error:
        admin.end(f"The key cannot be read from {file}: {error}.", admin.USAGE)
    print_facts(admin.add_provider_key(secret, team=team, label=label), json=json)


@provider_keys.command
def reseal(*, json: Json = False) -> None:
    """Seal all stored keys with the first of DARKROOM_SEAL_KEYS, so that the others can be removed.

    Exit with 3 if some keys still need another seal key.
    """
    from cli import admin  # noqa: PLC0415

    done = admin.reseal_provider_keys()
    print_facts(done, json=json)
    if done["unreadable"]:
        admin.end(
            f"None of DARKROOM_SEAL_KEYS opens {', '.join(done['unreadable'])}: append the seal "
            "key that sealed them, add them again, or remove them."
        )
    if done["changed"]:
        admin.end(f"{', '.join(done['changed'])} changed: run the command again.")


@provider_keys.command
def pause(key_id: str, *, json: Json = False) -> None:
    """Pause a key at once: no job is claimed with it, running calls continue."""
    from cli import admin  # noqa: PLC0415

    print_facts(admin.pause_provider_key(key_id), json=json)


@provider_keys.command
def resume(key_id: str, *, json: Json = False) -> None:
    """Resume a key."""
    from cli import admin  # noqa: PLC0415

    print_facts(admin.resume_provider_key(key_id), json=json)


@provider_keys.command
def remove(key_id: str, *, json: Json = False) -> None:
    """Remove a key that was added, at once: no job is claimed with it, running calls continue."""
    from cli import admin  # noqa: PLC0415

    print_facts(admin.remove_provider_key(key_id), json=json)


def _read(file: Path) -> str:
    """Read the key, never from an argument, which other users of the machine could see."""
    if file != _STDIN:
        return file.read_text("utf-8")
    return getpass("Key of 1min.ai: ") if sys.stdin.isatty() else sys.stdin.read()
