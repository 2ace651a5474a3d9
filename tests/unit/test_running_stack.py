"""The settings with which operators' commands connect to a stack of `darkroom up`."""

import json
from pathlib import Path

import pytest

from shared.running_stack import load_operator_settings

STACK = {
    "api": "http://127.0.0.1:8000",
    "redis_url": "redis://127.0.0.1:20001/0",
    "s3": {
        "endpoint": "127.0.0.1:20002",
        "bucket": "darkroom",
        "access_key": "access",
        "secret_key": "secret",
    },
    "provider_url": "http://127.0.0.1:20003",
}


def test_settings_of_other_servers_are_not_those_of_a_stack(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    given = {
        "REDIS_REPLICAS": "1",
        "S3_CREDENTIALS": "aws",
        "S3_ENCRYPTION": "AES256",
        "S3_SECURE": "true",
        "ONEMIN_AUTH_HEADER": "X-Gateway",
        "EGRESS_PROXY": "http://proxy.example:3128",
        "EGRESS_PROXY_DIRECT_HOSTS": "api.example",
    }
    for name, value in given.items():
        monkeypatch.setenv(f"DARKROOM_{name}", value)
    stack = tmp_path / "stack.json"
    stack.write_text(json.dumps(STACK))

    settings = load_operator_settings(stack)

    assert (settings.redis_replicas, settings.s3_credentials) == (0, "keys")
    assert (settings.s3_encryption, settings.s3_secure) == ("", False)
    assert settings.onemin_auth_header == "API-KEY"
    direct = ("api.example", "127.0.0.1", "localhost", "::1")
    assert settings.egress_proxy_direct_hosts == direct
