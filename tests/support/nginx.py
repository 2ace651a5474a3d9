"""A plain nginx with the configuration of deploy/nginx before API processes on loopback."""

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from sandbox.subprocesses import Child
from sandbox.wait import wait_for_http
from tests.deploy.compose import ROOT
from tests.deploy.debian import program

CONFIG = ROOT / "deploy" / "nginx" / "darkroom.conf"
#: What a distribution's own nginx.conf says, as far as it is needed here.
_AROUND = """
daemon off;
{user}
pid {where}/pid;
error_log {where}/error.log;
worker_processes 1;
events {{ worker_connections 1024; }}
http {{
    client_body_temp_path {where}/body;
    proxy_temp_path {where}/proxy;
    fastcgi_temp_path {where}/fastcgi;
    uwsgi_temp_path {where}/uwsgi;
    scgi_temp_path {where}/scgi;
    include {where}/darkroom.conf;
}}
"""


def find() -> Path:
    return program("nginx", "nginx")


def configured(where: Path, port: int, upstream: Sequence[str]) -> str:
    """Return the configuration with the addresses and logs that it has here."""
    text = CONFIG.read_text(encoding="utf-8")
    servers = re.findall(r"^ *server (127\.0\.0\.1:\d+) ", text, re.MULTILINE)
    for theirs, ours in zip(servers, upstream, strict=True):
        text = text.replace(theirs, ours)
    return text.replace("listen 8000", f"listen 127.0.0.1:{port}").replace(
        "/var/log/nginx", str(where)
    )


def written(where: Path, port: int, upstream: Sequence[str]) -> Path:
    """Write all that it reads into the folder `where`; return that."""
    where.mkdir()
    (where / "darkroom.conf").write_text(configured(where, port, upstream))
    _write_main(where)
    return where


def _write_main(where: Path) -> None:
    user = "user root;" if os.geteuid() == 0 else ""
    (where / "nginx.conf").write_text(_AROUND.format(where=where, user=user))


#: A cache as a CDN has it: by URL with its query, for as long as `Cache-Control` allows.
_CDN = """
proxy_cache_path {where}/cache keys_zone=images:1m;
server {{
    listen 127.0.0.1:{port};
    access_log off;
    location / {{
        proxy_pass http://{upstream};
        proxy_http_version 1.1;
        proxy_cache images;
        add_header X-Cache $upstream_cache_status always;
    }}
}}
"""


@contextmanager
def cdn(where: Path, port: int, upstream: str) -> Iterator[None]:
    """Run a cache at `port` before `upstream` (host:port); `X-Cache` says HIT or MISS."""
    where.mkdir()
    written = _CDN.format(where=where, port=port, upstream=upstream)
    (where / "darkroom.conf").write_text(written)
    _write_main(where)
    with Child(command(where), where / "out.log", environment={}):
        wait_for_http(f"http://127.0.0.1:{port}/healthz", status=200)
        yield


#: An authenticating proxy as the API sees one: it takes away what a browser claims, and names the
#: person whom its cookie belongs to. oauth2-proxy does the same after a login.
_AUTHENTICATING = """
map $cookie_person $email {{ ann ann@example.com; ben ben@example.com; }}
map $cookie_person $groups {{ ann staff,sre; ben staff; }}
server {{
    listen 127.0.0.1:{port};
    access_log off;
    location / {{
        proxy_pass http://{upstream};
        proxy_http_version 1.1;
        proxy_set_header Host $http_host;
        proxy_set_header X-Forwarded-For $remote_addr;
        proxy_set_header X-Forwarded-Email $email;
        proxy_set_header X-Forwarded-Groups $groups;
    }}
}}
"""


@contextmanager
def authenticating(where: Path, port: int, upstream: str) -> Iterator[None]:
    """Run an authenticating proxy at `port` before `upstream` (host:port)."""
    where.mkdir()
    (where / "darkroom.conf").write_text(_AUTHENTICATING.format(port=port, upstream=upstream))
    _write_main(where)
    with Child(command(where), where / "out.log", environment={}):
        wait_for_http(f"http://127.0.0.1:{port}/healthz", status=200)
        yield


def command(where: Path) -> list[str]:
    return [str(find()), "-e", str(where / "start.log"), "-c", str(where / "nginx.conf")]


@contextmanager
def nginx(where: Path, port: int, upstream: Sequence[str]) -> Iterator[Path]:
    """Run it at `port` before `upstream` (host:port of each); return the folder of its logs."""
    told = command(written(where, port, upstream))
    with Child(told, where / "out.log", environment={}):
        wait_for_http(f"http://127.0.0.1:{port}/healthz", status=200)
        yield where
