"""The commands `darkroom up` and `darkroom sandbox`; each imports what it needs late."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter, validators

from shared.errors import DarkroomError, InvalidSettings

if TYPE_CHECKING:
    from shared.model_catalog import Catalog

#: A time in seconds.
Seconds = Annotated[float, Parameter(validator=validators.Number(gte=0))]


def up(
    *,
    port: int | None = None,
    data: Path = Path(".darkroom"),
    provider: Literal["sandbox", "1min"] | None = None,
    workers: int = 1,
    concurrency: int | None = None,
    demo: bool = True,
) -> None:
    """Run the whole service on this machine, without Docker, until Ctrl-C.

    Starts Valkey, an S3 server, the API, the workers and, without a key for 1min.ai, the
    sandbox; then generates one image to show that everything works. Processes that exit are
    restarted. The file stack.json in the data directory (--data) lists addresses, keys and pids.

    Parameters
    ----------
    port
        Port of the API; default: 8000, or a free port if 8000 is taken.
    data
        Directory for data, keys, logs and images.
    provider
        Where images are generated; default: 1min.ai if DARKROOM_ONEMIN_API_KEY is set, else the
        sandbox.
    workers
        Generate workers to run.
    concurrency
        Jobs that one worker runs at once; default: DARKROOM_CONCURRENCY, or 64.
    demo
        Generate one image at the start and print its states.

    """
    from sandbox.devstack.plan import StackOptions  # noqa: PLC0415  0.5 s that `--help` need not wait for
    from sandbox.devstack.run import run  # noqa: PLC0415  the same
    from sandbox.devstack.tenant import open_local_tenant  # noqa: PLC0415  the same

    try:
        options = StackOptions(data, port, provider, workers, concurrency, demo)
        sys.exit(run(options, open_local_tenant))
    except DarkroomError as refusal:
        sys.stderr.write(f"{refusal}\n")
        sys.exit(2 if isinstance(refusal, InvalidSettings) else 1)


def sandbox(
    *,
    port: int = 8081,
    host: str = "127.0.0.1",
    latency: Seconds = 0.3,
    url_lifetime: Seconds = 600,
    keys: str = "",
    image_port: int | None = None,
) -> None:
    """Run a local 1min.ai that returns real images and faults on request. Ctrl-C stops it.

    Set DARKROOM_ONEMIN_BASE_URL to its URL, and name 127.0.0.1 in DARKROOM_ONEMIN_IMAGE_HOSTS and
    DARKROOM_ONEMIN_ALLOW_PRIVATE_HOSTS. PUT /_sandbox/behavior sets how it answers, for all calls
    or for one API key or model; PUT /_sandbox/images how the image host answers; PUT
    /_sandbox/models which models there are; PUT /_sandbox/keys which API keys are valid. The models
    are those of the catalog and of DARKROOM_MODELS_FILE. GET /_sandbox/calls lists all calls and
    which were charged. Nothing is written to disk.

    Parameters
    ----------
    port
        Where to listen; 0 takes any free port.
    host
        The address to listen on; the default is reachable from this machine only.
    latency
        Seconds that one image takes.
    url_lifetime
        Seconds for which an image URL is valid.
    keys
        Valid API keys, separated by commas; default: any key.
    image_port
        Port for images; 0 takes any free port; default: the port of the API.

    """
    from sandbox.provider import server  # noqa: PLC0415  a web server that `--help` needs not
    from sandbox.provider.listening import PortTaken  # noqa: PLC0415  the same

    good = _listed(keys) or None
    options = server.Options(
        *(host, port, latency, url_lifetime, good), image_port=image_port, catalog=_catalog()
    )
    try:
        server.serve(options, _announce)
    except PortTaken as taken:
        sys.stderr.write(f"{taken}\n")
        sys.exit(2)


def _catalog() -> "Catalog":
    """Return the models of the settings; exit if these have mistakes."""
    from shared.settings import load_settings  # noqa: PLC0415  the same

    try:
        return load_settings().models
    except InvalidSettings as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(2)


def _listed(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _announce(url: str) -> None:
    sys.stdout.write(f"Sandbox provider at {url} (behavior: {url}/_sandbox/behavior)\n")
    sys.stdout.flush()
