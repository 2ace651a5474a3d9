import re
from pathlib import Path

import pytest

from shared.celery_app import build_celery
from shared.errors import InvalidSettings
from shared.model_catalog import DEFAULT_MODEL
from shared.settings import Settings, example, load_settings, misspelt, require
from shared.store.connection import read_sentinel

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

    with pytest.raises(InvalidSettings) as raised:
        load_settings()

    sentences = str(raised.value).splitlines()
    assert [sentence.split()[0] for sentence in sentences] == [
        "DARKROOM_PUBLIC_URL",
        "DARKROOM_CONCURRENCY",
        "DARKROOM_WEBHOOK_SCHEDULE",
    ]


def test_a_mistake_made_twice_has_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DARKROOM_WEBHOOK_SCHEDULE", "soon,later")

    with pytest.raises(InvalidSettings) as raised:
        load_settings()

    assert len(str(raised.value).splitlines()) == 1


@pytest.mark.parametrize("name", ["a", "../../elsewhere", "my/bucket", ".hidden", "a" * 64])
def test_what_no_bucket_can_be_called_is_refused(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("DARKROOM_S3_BUCKET", name)

    with pytest.raises(
        InvalidSettings, match="DARKROOM_S3_BUCKET is not usable: must have 3 to 63"
    ):
        load_settings()


def test_ports_are_single_ones_and_ranges(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DARKROOM_WEBHOOK_PORTS", "443, 8000-8999,")

    assert load_settings().webhook_port_ranges == (range(443, 444), range(8000, 9000))


@pytest.mark.parametrize("word", ["0", "65536", "9-1", "1-", "https", "-5", "1-70000", "²"])
def test_what_no_port_can_be_is_refused(monkeypatch: pytest.MonkeyPatch, word: str) -> None:
    monkeypatch.setenv("DARKROOM_WEBHOOK_PORTS", f"443,{word}")

    with pytest.raises(InvalidSettings, match="DARKROOM_WEBHOOK_PORTS is not usable: needs ports"):
        load_settings()


def test_a_setting_can_stand_in_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    secret = tmp_path / "key"
    secret.write_text("first,second\n")
    monkeypatch.setenv("DARKROOM_ONEMIN_API_KEY_FILE", str(secret))

    assert [key.secret for key in load_settings().onemin_keys] == ["first", "second"]


@pytest.mark.parametrize("empty", ["", " "])
def test_an_empty_variable_does_not_hide_its_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, empty: str
) -> None:
    secret = tmp_path / "key"
    secret.write_text("first\n")
    monkeypatch.setenv("DARKROOM_ONEMIN_API_KEY", empty)
    monkeypatch.setenv("DARKROOM_ONEMIN_API_KEY_FILE", str(secret))

    assert [key.secret for key in load_settings().onemin_keys] == ["first"]


def test_a_variable_with_a_value_goes_before_its_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    secret = tmp_path / "key"
    secret.write_text("first\n")
    monkeypatch.setenv("DARKROOM_ONEMIN_API_KEY", "second")
    monkeypatch.setenv("DARKROOM_ONEMIN_API_KEY_FILE", str(secret))

    assert [key.secret for key in load_settings().onemin_keys] == ["second"]


def test_keys_of_a_team_share_its_name_and_are_shown_masked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(
        "DARKROOM_ONEMIN_API_KEY", "red:0123456789abcdef, red:fedcba9876543210,alone"
    )

    one, other, alone = load_settings().onemin_keys

    assert (one.team, other.team, alone.team) == ("red", "red", alone.id)
    assert (one.secret, one.masked) == ("0123456789abcdef", "…cdef")
    assert alone.masked == "…"
    assert "0123" not in repr(one)


@pytest.mark.parametrize("written", ["red:", "a b:secret", ":secret", "ö:secret"])
def test_a_key_with_a_team_that_is_none_is_refused_without_showing_it(written: str) -> None:
    with pytest.raises(InvalidSettings, match="DARKROOM_ONEMIN_API_KEY is not usable") as raised:
        load_settings(onemin_api_key=written)

    assert written not in str(raised.value)


def test_a_file_that_cannot_be_read_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DARKROOM_S3_SECRET_KEY_FILE", "/nowhere/secret")

    with pytest.raises(InvalidSettings, match="/nowhere/secret"):
        load_settings()


def test_what_is_required_and_missing_is_named_each() -> None:
    with pytest.raises(InvalidSettings) as raised:
        require(Settings(), "onemin_api_key", "s3_access_key", "redis_url")

    assert str(raised.value).splitlines() == [
        "DARKROOM_ONEMIN_API_KEY is missing.",
        "DARKROOM_S3_ACCESS_KEY is missing.",
    ]


def test_secrets_do_not_show_in_the_settings_text() -> None:
    settings = load_settings(
        onemin_api_key="very-secret", s3_secret_key="also-secret", redis_url="redis://:secret@h/0"
    )

    assert "secret@" not in repr(settings)
    assert "very-secret" not in repr(settings)
    assert "also-secret" not in repr(settings)


def refusal(name: str, value: str) -> str:
    """Return the sentence with which a value is refused."""
    with pytest.raises(InvalidSettings) as raised:
        load_settings(**{name: value})
    sentence = str(raised.value)
    assert sentence.startswith(f"DARKROOM_{name.upper()} is not usable: ")
    assert sentence.endswith(".")
    assert "\n" not in sentence
    return sentence


HOST_LISTS = ("onemin_image_hosts", "onemin_allow_private_hosts", "webhook_allow_hosts")


@pytest.mark.parametrize("name", HOST_LISTS)
@pytest.mark.parametrize(
    ("word", "advice"),
    [
        ("https://storage.1min.ai", "write storage.1min.ai"),
        ("http://n8n:5678/", "write n8n:5678"),
        ("http://n8n:80/", "write n8n"),
        ("https://user:Hunter2secret@[::1]:9/", "write [::1]:9"),
        ("10.0.0.0/8", "ranges of addresses: `10.0.0.0/8`"),
        ("fd00::/8", "ranges of addresses: `fd00::/8`"),
        ("storage.1min.ai/images", "not paths"),
        ("a.example b.example", "not a name or an IP address: `a.example b.example`"),
        ("a.example;b.example", "not a name or an IP address"),
        ("*", "not a name or an IP address"),
        ("10.0.0", "not an IPv4 address"),
        ("host:", "a number from 1 to 65535: `host:`"),
        ("host:99999", "a number from 1 to 65535: `host:99999`"),
        ("user:Hunter2secret@host", "one of them"),
        ("bücher.example", "in its xn-- form"),
        ("“storage.1min.ai”", "must be ASCII"),
        ("[::1", "brackets"),
        ("a..example", "not a name"),
    ],
)
def test_a_list_of_hosts_takes_nothing_that_would_match_no_host(
    name: str, word: str, advice: str
) -> None:
    sentence = refusal(name, f"storage.example, {word}")

    assert advice in sentence
    assert "Hunter2secret" not in sentence


def test_every_wrong_host_of_a_list_is_named() -> None:
    sentence = refusal("webhook_allow_hosts", "10.0.0.0/8,n8n,http://hooks:80/")

    assert "10.0.0.0/8" in sentence
    assert "write hooks" in sentence


def test_hosts_are_kept_in_one_spelling() -> None:
    written = " Storage.Example. ,*.cdn.example:443, .a.example,[::1]:9000,0:0:0:0:0:0:0:1,my_n8n"

    assert load_settings(onemin_image_hosts=written).onemin_image_hosts == (
        *("storage.example", ".cdn.example:443", ".a.example", "[::1]:9000", "::1", "my_n8n"),
    )


def test_images_need_a_host_to_come_from() -> None:
    assert "at least one host" in refusal("onemin_image_hosts", " , ")


def test_what_editors_leave_around_a_value_is_cut() -> None:
    bom = "\N{ZERO WIDTH NO-BREAK SPACE}"
    settings = load_settings(
        onemin_api_key=f"{bom} first , {bom}second\r\n",
        s3_access_key="access\n",
        s3_secret_key="\tsecret ",
        redis_url=" redis://h/0\r\n",
        public_url=f"{bom}https://darkroom.example/\n",
        on_unknown="fail\n",
    )

    assert [key.secret for key in settings.onemin_keys] == ["first", "second"]
    assert settings.s3_access_key.get_secret_value() == "access"
    assert settings.s3_secret_key.get_secret_value() == "secret"
    assert (settings.redis_url, settings.on_unknown) == ("redis://h/0", "fail")
    assert settings.public_url == "https://darkroom.example"


@pytest.mark.parametrize("content", [b"\xef\xbb\xbfkey\r\n", b" key\n\n", b"key"])
def test_blanks_line_ends_and_a_byte_order_mark_of_a_file_are_cut(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: bytes
) -> None:
    secret = tmp_path / "key"
    secret.write_bytes(content)
    monkeypatch.setenv("DARKROOM_ONEMIN_API_KEY_FILE", str(secret))

    assert [key.secret for key in load_settings().onemin_keys] == ["key"]


@pytest.mark.parametrize("name", ["onemin_api_key", "s3_access_key", "s3_secret_key"])
@pytest.mark.parametrize(
    "key",
    [
        "“Hunter2secret”",
        "Hunter2\u200bsecret",
        "Hunter2 secret",
        "Hunter2\nsecret",
        "Hunter2sécret",
    ],
)
def test_a_key_that_no_header_can_carry_is_refused_without_being_shown(name: str, key: str) -> None:
    sentence = refusal(name, key)

    assert "which no header can carry" in sentence
    assert "Hunter2" not in sentence


def test_a_bad_key_of_a_pool_is_found() -> None:
    assert "no header can carry" in refusal("onemin_api_key", "good,b\u2019ad")


@pytest.mark.parametrize("value", ['"Hunter2secret"', "'Hunter2secret'"])
@pytest.mark.parametrize("name", ["onemin_api_key", "redis_url", "s3_endpoint", "concurrency"])
def test_quotation_marks_that_came_along_are_named(name: str, value: str) -> None:
    sentence = refusal(name, value)

    assert "quotation marks" in sentence
    assert "Hunter2" not in sentence


def test_files_that_cannot_be_read_are_named_with_all_other_mistakes(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    utf16 = tmp_path / "utf16"
    utf16.write_bytes("key".encode("utf-16"))
    monkeypatch.setenv("DARKROOM_ONEMIN_API_KEY_FILE", str(utf16))
    monkeypatch.setenv("DARKROOM_S3_ACCESS_KEY_FILE", str(tmp_path))
    monkeypatch.setenv("DARKROOM_S3_SECRET_KEY_FILE", "/nowhere/secret")
    monkeypatch.setenv("DARKROOM_CONCURRENCY", "many")

    with pytest.raises(InvalidSettings) as raised:
        load_settings()

    sentences = str(raised.value).splitlines()
    assert len(sentences) == 4
    assert f"{utf16} is not UTF-8 text." in sentences[0]
    assert "cannot be read (Is a directory)." in sentences[1]
    assert "/nowhere/secret cannot be read (No such file" in sentences[2]


@pytest.mark.parametrize(
    "written",
    [
        "https://api.1min.ai/api/features",
        "https://api.1min.ai/api/features/",
        "HTTPS://API.1min.ai/",
        " https://api.1min.ai\n",
    ],
)
def test_the_address_of_the_provider_may_be_the_documented_one(written: str) -> None:
    assert load_settings(onemin_base_url=written).onemin_base_url == "https://api.1min.ai"


def test_the_objects_of_a_public_bucket_may_be_named() -> None:
    written = "https://images.example/darkroom/{key}"
    assert load_settings(image_base_url=written).image_base_url == written


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("https://{key}", "it must have {key} once, after the host"),
        ("https://images.example/{key}/{key}", "it must have {key} once, after the host"),
        ("ftp://images.example/{key}", "must begin with http:// or https://"),
        ("https://images.example/{key}?a=1", "no `?` and no `#`"),
        ("https://images.example/{key}/{name}", "it must not have a placeholder in { }"),
        ("https://user:Hunter2secret@images.example/{key}", "a user or a password"),
    ],
)
def test_the_address_of_the_objects_of_a_bucket_is_checked(value: str, why: str) -> None:
    with pytest.raises(InvalidSettings, match=re.escape(why)) as refused:
        load_settings(image_base_url=value)
    assert "Hunter2" not in str(refused.value)


def test_the_collector_may_be_named_by_its_whole_address() -> None:
    settings = load_settings(otlp_endpoint="http://collector:4318/v1/traces")

    assert settings.otlp_endpoint == "http://collector:4318"


@pytest.mark.parametrize(
    "name", ["onemin_base_url", "public_url", "image_base_url", "otlp_endpoint"]
)
@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("api.example", "must begin with http:// or https://"),
        ("ftp://api.example", "must begin with http:// or https://"),
        ("https:api.example", "must begin with http:// or https://"),
        ("https://", "the host is missing"),
        ("https://:8000", "the host is missing"),
        ("https://api.example:99999", "a number from 1 to 65535"),
        ("https://api.example:http", "a number from 1 to 65535"),
        ("https://api.example:0", "a number from 1 to 65535"),
        ("https://[::1", "not an IPv6 address"),
        ("https://api.example?key=Hunter2secret", "no `?` and no `#`"),
        ("https://api.example#", "no `?` and no `#`"),
        ("https://user:Hunter2secret@api.example", "a user or a password"),
        ("https://api example", "without blanks"),
        ("https://api.example/{name}", "must not have a placeholder in { }"),
        ("https://api.\u200bexample", "visible ASCII"),
    ],
)
def test_an_address_that_cannot_be_asked_is_refused(name: str, value: str, why: str) -> None:
    sentence = refusal(name, value)

    assert why in sentence
    assert "Hunter2" not in sentence


@pytest.mark.parametrize(
    ("written", "endpoint", "secure"),
    [
        ("127.0.0.1:9000", "127.0.0.1:9000", False),
        ("http://127.0.0.1:9000", "127.0.0.1:9000", False),
        ("HTTPS://S3.Example/", "s3.example", True),
        ("[::1]:9000", "[::1]:9000", False),
        ("s3.example/", "s3.example", False),
    ],
)
def test_the_storage_may_be_named_by_a_url(
    written: str,
    endpoint: str,
    secure: bool,  # noqa: FBT001  an example, not a switch
) -> None:
    settings = load_settings(s3_endpoint=written)

    assert (settings.s3_endpoint, settings.s3_secure) == (endpoint, secure)


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("host/bucket", "the bucket is set in DARKROOM_S3_BUCKET"),
        ("https://host/bucket", "the bucket is set in DARKROOM_S3_BUCKET"),
        ("s3://bucket", "needs host:port"),
        ("https://key:Hunter2secret@host", "a user or a password"),
        ("host?x=1", "needs host:port"),
        ("host:", "a number from 1 to 65535"),
        ("", "the host is missing"),
        ("::1:9000", "in brackets"),
    ],
)
def test_a_storage_that_cannot_be_asked_is_refused(value: str, why: str) -> None:
    sentence = refusal("s3_endpoint", value)

    assert why in sentence
    assert "Hunter2" not in sentence


@pytest.mark.parametrize(
    ("written", "url"),
    [
        ("", ""),
        ("S3.example:8333", "https://s3.example:8333"),
        ("http://127.0.0.1:8333/", "http://127.0.0.1:8333"),
    ],
)
def test_the_public_address_of_the_storage_is_a_url(written: str, url: str) -> None:
    assert load_settings(s3_public_endpoint=written, s3_secure="true").s3_public_endpoint == url


def test_a_public_address_of_the_storage_has_no_path() -> None:
    assert "the bucket is set in" in refusal("s3_public_endpoint", "https://cdn.example/bucket")


def test_a_storage_is_not_told_two_things_about_tls() -> None:
    with pytest.raises(
        InvalidSettings, match="it begins with https://, but DARKROOM_S3_SECURE is fal"
    ):
        load_settings(s3_endpoint="https://s3.example", s3_secure="false")
    with pytest.raises(
        InvalidSettings, match="it begins with http://, but DARKROOM_S3_SECURE is true"
    ):
        load_settings(s3_endpoint="http://s3.example", s3_secure="true")
    assert load_settings(s3_endpoint="https://s3.example", s3_secure="true").s3_secure


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ("redis://:w@rd@h:6379/0", "redis://:w%40rd@h:6379/0"),
        ("redis://user:100%sure;x@h/1", "redis://user:100%25sure%3Bx@h/1"),
        ("REDISS://user:p%23w@h", "rediss://user:p%23w@h"),
        ("redis://[::1]:6379/0/", "redis://[::1]:6379/0"),
        ("sentinel://:w@a:1,[::1]:2,c/0?master=m", "sentinel://:w@a:1,[::1]:2,c/0?master=m"),
        ("rediss://h?ssl_cert_reqs=none", "rediss://h?ssl_cert_reqs=none"),
    ],
)
def test_the_address_of_redis_is_kept_so_that_every_library_reads_the_same(
    written: str, kept: str
) -> None:
    assert load_settings(redis_url=written).redis_url == kept


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("redis://:Hunter2secret#1@h:6379/0", "`#` is %23"),
        ("redis://:Hunter2/secret@h:6379/0", "must be %-encoded"),
        ("redis://:Hunter2?secret@h:6379/0", "must be %-encoded"),
        ("redis://:Hunter2 secret@h:6379/0", "must be %-encoded"),
        ("redis://:Hunter2“secret@h:6379/0", "must be %-encoded"),
        ("redis://:Hunter2secret@h:99999/0", "a number from 1 to 65535"),
        ("redis://:Hunter2secret@h:port/0", "a number from 1 to 65535"),
        ("redis://:Hunter2secret@[::1/0", "in brackets"),
        ("redis://::1:6379/0", "in brackets"),
        ("redis://:Hunter2secret@h/db0", "the database after the host must be a number"),
        ("redis://:Hunter2secret@h?db=1", "the database is written /0"),
        ("redis://:Hunter2secret@h?ssl_cert_reqs=none", "TLS is rediss://"),
        ("rediss://:Hunter2secret@h?ssl_cert_reqs=no", "must be required, optional or none"),
        ("rediss://:Hunter2secret@h?timeout=5", "the options after `?`"),
        ("sentinel://:Hunter2secret@a:1,,b/0", "the host is missing"),
        ("sentinel://a/0?sentinel_password=Hunter2#secret", "must be %-encoded"),
        ("sentinel://a/0?name=main", "are master, sentinel_password"),
        ("unix:///run/redis.sock", "must begin with redis://, rediss:// or sentinel://"),
        ("Hunter2secret@h:6379", "must begin with redis://, rediss:// or sentinel://"),
        ("redis://", "the host is missing"),
        ("", "must begin with"),
    ],
)
def test_an_address_of_redis_that_cannot_be_read_is_refused_without_its_password(
    value: str, why: str
) -> None:
    sentence = refusal("redis_url", value)

    assert why in sentence
    assert "Hunter2" not in sentence
    assert "secret" not in sentence.replace("sentinel_password", "")


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ("postgres://u:w@rd@h/d", "postgresql://u:w%40rd@h/d"),
        ("postgresql://u:100%sure@[::1]:5432/d", "postgresql://u:100%25sure@[::1]:5432/d"),
        ("postgresql://a,b/d?port=5432", "postgresql://a,b/d?port=5432"),
        ("postgresql://h/d?sslmode=verify-full", "postgresql://h/d?sslmode=verify-full"),
    ],
)
def test_every_library_reads_the_same_history_url(written: str, kept: str) -> None:
    assert load_settings(history_url=written).history_url == kept


@pytest.mark.parametrize(
    ("written", "reason"),
    [
        ("postgresql://u:Hunter2/secret@h/d", "must be %-encoded"),
        ("postgresql://u:Hunter2?secret@h/d", "must be %-encoded"),
        ("postgresql://u:Hunter2secret@h:port/d", "a number from 1 to 65535"),
        ("postgresql://u:Hunter2secret@a:1,b:2/d", "several hosts have one port"),
        ("postgresql://u:Hunter2secret@h/d?ssl=on", "must be those of libpq"),
    ],
)
def test_a_history_url_that_cannot_be_used_is_refused_without_its_password(
    written: str, reason: str
) -> None:
    with pytest.raises(InvalidSettings, match=re.escape(reason)) as caught:
        load_settings(history_url=written)
    assert "Hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("redis_timeout_seconds", "inf"),
        ("provider_timeout_seconds", "nan"),
        ("webhook_timeout_seconds", "1e300"),
        ("record_retention_seconds", "999999999999999999999"),
        ("webhook_schedule", "0,inf"),
        ("webhook_schedule", "0,1e12"),
        ("webhook_schedule", "5"),
        ("webhook_schedule", "60,300"),
        ("provider_rate_per_minute", "nan"),
        ("onemin_auth_header", "API KEY:"),
        ("onemin_auth_header", "Content-Length"),
        ("ops_auth_header", "host"),
        ("otlp_headers", "authorization"),
        ("otlp_headers", "authorization=Bearer “x”"),
        ("otlp_headers", "transfer-encoding=chunked"),
        ("metrics_host", "http://127.0.0.1"),
        ("metrics_host", "127.0.0.1:9100"),
        ("s3_region", "eu/central"),
        ("s3_bucket", "a..b"),
    ],
)
def test_what_cannot_work_is_refused_at_the_start(name: str, value: str) -> None:
    refusal(name, value)


def test_words_may_be_written_in_capitals() -> None:
    settings = load_settings(log_level="INFO", log_format="Json", on_unknown="FAIL\n")

    assert (settings.log_level, settings.log_format, settings.on_unknown) == (
        *("info", "json", "fail"),
    )


def test_further_names_of_models_may_be_spaced() -> None:
    alias = load_settings(openai_models=f"dall-e-3 = {DEFAULT_MODEL}").openai_aliases

    assert alias == {"dall-e-3": DEFAULT_MODEL}


def test_a_further_name_stands_for_one_model() -> None:
    models = list(load_settings().models)
    with pytest.raises(InvalidSettings, match="names an alias twice"):
        load_settings(openai_models=f"dall-e-3={models[0]},dall-e-3={models[1]}")


def _defaults() -> dict[str, object]:
    return {name: info.default for name, info in Settings.model_fields.items()}


def test_a_name_that_looks_like_a_setting_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LEASE_SECOND", "ONEMIN_APIKEY_FILE", "LEASE_SECONDS", "TRACE_SHARE"):
        monkeypatch.setenv(f"DARKROOM_{name}", "1")
    # of programs that ask Darkroom, and of Kubernetes
    for name in ("URL", "API_KEY", "OPS_KEY", "STACK", "API_PORT", "API_SERVICE_HOST"):
        monkeypatch.setenv(f"DARKROOM_{name}", "1")
    assert misspelt() == {
        "DARKROOM_LEASE_SECOND": "DARKROOM_LEASE_SECONDS",
        "DARKROOM_ONEMIN_APIKEY_FILE": "DARKROOM_ONEMIN_API_KEY_FILE",
        "DARKROOM_TRACE_SHARE": "DARKROOM_TRACE_SAMPLE_RATIO",
    }


def test_sentinels_at_ipv6_addresses_are_the_same_to_redis_py_and_to_celery() -> None:
    settings = load_settings(redis_url="sentinel://:w%40rd@[::1]:1,[::2]/0?master=main")

    named = read_sentinel(settings.redis_url)
    connection = build_celery(settings).connection()

    assert (named.hosts, named.password) == ([("::1", 1), ("::2", 26379)], "w@rd")
    assert (connection.hostname, connection.port, connection.password) == ("::1", 1, "w@rd")
    assert connection.alt[1] == "sentinel://:w%40rd@[::2]:26379/0"


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
    with pytest.raises(InvalidSettings, match="DARKROOM_CORS_ORIGINS is not usable: needs "):
        load_settings(cors_origins=written)


def test_no_limit_of_held_bodies_is_below_the_largest_body() -> None:
    with pytest.raises(
        InvalidSettings, match="DARKROOM_MAX_TENANT_HELD_BYTES is not usable: must be"
    ):
        load_settings(max_tenant_held_bytes=31_999_999)


def test_every_mistake_in_the_prices_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    written = f"m=-1,{DEFAULT_MODEL}=x,=3,{DEFAULT_MODEL}=2"
    monkeypatch.setenv("DARKROOM_CREDITS_PER_IMAGE", written)
    with pytest.raises(InvalidSettings) as caught:
        load_settings()
    for mistake in (
        "m=-1 does not begin with a model",
        f"{DEFAULT_MODEL}=x does not end with a number from 0 to 1,000,000",
        "=3 does not begin with a model",
        f"{DEFAULT_MODEL} is named twice",
    ):
        assert mistake in str(caught.value)


def test_a_number_that_is_none_is_said_in_plain_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DARKROOM_MAX_QUEUE", "many")
    with pytest.raises(InvalidSettings, match="MAX_QUEUE is not usable: must be a whole number"):
        load_settings()


def test_seal_keys_are_long_and_the_first_one_seals() -> None:
    old, new = "o" * 32, "n" * 40
    assert Settings(seal_keys=f" {new}, {old}\n").seal_key_texts == (new, old)
    assert Settings().seal_key_texts == ()
    with pytest.raises(InvalidSettings, match="DARKROOM_SEAL_KEYS is not usable") as raised:
        load_settings(seal_keys=f"{new},short")
    assert "at least 32 characters" in str(raised.value)
    assert "short" not in str(raised.value)
