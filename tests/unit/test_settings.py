from pathlib import Path

import pytest

from shared.errors import BadSettings
from shared.settings import Settings, example, load_settings, misspelt, require

ROOT = Path(__file__).parents[2]


def test_the_example_names_every_setting_with_its_default() -> None:
    assert (ROOT / ".env.example").read_text() == example()


def test_what_the_example_says_is_what_the_settings_take(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [line.removeprefix("# ") for line in example().splitlines() if "# DARKROOM_" in line]
    for line in lines:
        name, _, value = line.partition("=")
        monkeypatch.setenv(name, value)

    assert len(lines) == len(Settings.model_fields)
    assert load_settings().model_dump() == _defaults()


def test_every_mistake_has_a_sentence_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DARKROOM_CONCURRENCY", "many")
    monkeypatch.setenv("DARKROOM_PUBLIC_URL", "example.com")
    monkeypatch.setenv("DARKROOM_WEBHOOK_SCHEDULE", "")

    with pytest.raises(BadSettings) as raised:
        load_settings()

    sentences = str(raised.value).splitlines()
    assert [sentence.split()[0] for sentence in sentences] == [
        "DARKROOM_PUBLIC_URL",
        "DARKROOM_CONCURRENCY",
        "DARKROOM_WEBHOOK_SCHEDULE",
    ]


def test_a_mistake_made_twice_has_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DARKROOM_WEBHOOK_SCHEDULE", "soon,later")

    with pytest.raises(BadSettings) as raised:
        load_settings()

    assert len(str(raised.value).splitlines()) == 1


@pytest.mark.parametrize("name", ["a", "../../elsewhere", "my/bucket", ".hidden", "a" * 64])
def test_what_no_bucket_can_be_called_is_refused(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("DARKROOM_S3_BUCKET", name)

    with pytest.raises(BadSettings, match="DARKROOM_S3_BUCKET is not usable: must have 3 to 63"):
        load_settings()


def test_ports_are_single_ones_and_ranges(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DARKROOM_WEBHOOK_PORTS", "443, 8000-8999,")

    assert load_settings().webhook_port_ranges == (range(443, 444), range(8000, 9000))


@pytest.mark.parametrize("word", ["0", "65536", "9-1", "1-", "https", "-5", "1-70000", "²"])
def test_what_no_port_can_be_is_refused(monkeypatch: pytest.MonkeyPatch, word: str) -> None:
    monkeypatch.setenv("DARKROOM_WEBHOOK_PORTS", f"443,{word}")

    with pytest.raises(BadSettings, match="DARKROOM_WEBHOOK_PORTS is not usable: needs ports"):
        load_settings()


def test_a_setting_can_stand_in_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    secret = tmp_path / "key"
    secret.write_text("first,second\n")
    monkeypatch.setenv("DARKROOM_ONEMIN_API_KEY_FILE", str(secret))

    assert load_settings().onemin_keys == ("first", "second")


def test_a_file_that_cannot_be_read_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DARKROOM_S3_SECRET_KEY_FILE", "/nowhere/secret")

    with pytest.raises(BadSettings, match="/nowhere/secret"):
        load_settings()


def test_what_is_required_and_missing_is_named_each() -> None:
    with pytest.raises(BadSettings) as raised:
        require(Settings(), "onemin_api_key", "s3_access_key", "redis_url")

    assert str(raised.value).splitlines() == [
        "DARKROOM_ONEMIN_API_KEY is missing.",
        "DARKROOM_S3_ACCESS_KEY is missing.",
    ]


def test_secrets_do_not_show_in_the_settings_text() -> None:
    settings = load_settings(onemin_api_key="very-secret", s3_secret_key="also-secret")

    assert "very-secret" not in repr(settings)
    assert "also-secret" not in repr(settings)


def _defaults() -> dict[str, object]:
    return {name: info.default for name, info in Settings.model_fields.items()}


def test_a_name_that_looks_like_a_setting_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LEASE_SECOND", "ONEMIN_APIKEY_FILE", "LEASE_SECONDS", "S3_SECRET_KEY_FILE"):
        monkeypatch.setenv(f"DARKROOM_{name}", "1")
    # of programs that ask Darkroom, and of Kubernetes
    for name in ("URL", "API_KEY", "OPS_KEY", "STACK", "API_PORT", "API_SERVICE_HOST"):
        monkeypatch.setenv(f"DARKROOM_{name}", "1")
    assert misspelt() == {
        "DARKROOM_LEASE_SECOND": "DARKROOM_LEASE_SECONDS",
        "DARKROOM_ONEMIN_APIKEY_FILE": "DARKROOM_ONEMIN_API_KEY_FILE",
    }


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("", ()),
        ("*", ("*",)),
        (
            " https://App.Example:443 , http://localhost:3000",
            ("https://app.example", "http://localhost:3000"),
        ),
        ("http://[::1]:80", ("http://[::1]",)),
    ],
)
def test_origins_are_read_as_browsers_write_them(written: str, read: tuple[str, ...]) -> None:
    assert load_settings(cors_origins=written).cors_origins == read


@pytest.mark.parametrize(
    "written",
    [
        "app.example",
        "https://app.example/",
        "https://a/b",
        "null",
        "https://*.a.example",
        "ftp://a",
        "https://bücher.example",
        "https://a:70000",
    ],
)
def test_what_is_no_origin_is_refused_in_a_sentence(written: str) -> None:
    with pytest.raises(BadSettings, match="DARKROOM_CORS_ORIGINS is not usable: needs "):
        load_settings(cors_origins=written)


def test_no_limit_of_held_bodies_is_below_the_largest_body() -> None:
    with pytest.raises(BadSettings, match="DARKROOM_MAX_TENANT_HELD_BYTES is not usable: must be"):
        load_settings(max_tenant_held_bytes=31_999_999)
