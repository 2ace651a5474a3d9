"""nginx' configuration: as nginx reads it, and as the service's own limits have it."""

import re
import subprocess
from pathlib import Path

from api.headers import WAIT_SECONDS_MAX
from shared.settings import Settings
from tests.support import nginx


def _numbers(directive: str) -> list[int]:
    text = nginx.CONFIG.read_text(encoding="utf-8")
    return [int(found) for found in re.findall(rf"^ *{directive} (\d+)s?;", text, re.MULTILINE)]


def test_nginx_takes_the_configuration(tmp_path: Path) -> None:
    where = nginx.written(tmp_path / "nginx", 8000, ["127.0.0.1:8001", "127.0.0.1:8002"])

    ran = subprocess.run(
        [*nginx.command(where), "-t"], capture_output=True, text=True, check=False, timeout=30
    )

    assert ran.returncode == 0, ran.stderr


def test_bodies_are_limited_as_the_api_limits_them() -> None:
    settings = Settings()

    assert _numbers("client_max_body_size") == [settings.max_body_bytes, settings.max_batch_bytes]


def test_nobody_is_cut_off_who_is_held_by_the_api() -> None:
    usual, openai = _numbers("proxy_read_timeout")

    assert usual > WAIT_SECONDS_MAX
    assert openai > Settings().openai_wait_seconds
