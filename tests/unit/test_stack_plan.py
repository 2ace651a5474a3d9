"""What the stack would start, from what was asked and what the environment says."""

import socket
from pathlib import Path

import pytest

from sandbox.devstack.banner import lines
from sandbox.devstack.plan import (
    Kind,
    Plan,
    Ports,
    ProcessSpec,
    S3Keys,
    StackOptions,
    servers,
    services,
)
from sandbox.devstack.ports import PortTaken, choose
from shared.settings import Settings

PORTS = Ports(api=8000, redis=20001, s3=20002, provider=20003, metrics=(20004, 20005))


def plan_for(
    wish: StackOptions | None = None, settings: Settings | None = None, **inherited: str
) -> Plan:
    return Plan(
        options=wish or StackOptions(Path("data")),
        ports=PORTS,
        keys=S3Keys("ACCESS", "SECRET"),
        settings=settings or Settings(onemin_api_key=""),
        inherited=inherited,
        console=False,
    )


def part(plan: Plan, name: str) -> ProcessSpec:
    return next(part for part in [*servers(plan), *services(plan)] if part.name == name)


def test_a_stack_is_servers_api_workers_and_the_sandbox_provider() -> None:
    names = [part.name for part in [*servers(plan_for()), *services(plan_for())]]
    assert names == ["redis", "s3", "api", "generate-1", "provider", "deliver"]


def test_the_history_is_a_file_of_the_stack_unless_a_setting_names_a_database() -> None:
    own = plan_for(StackOptions(Path("/srv/data")))
    address = "postgresql://darkroom:secret@db.example/darkroom"
    other = plan_for(settings=Settings(history_url=address))
    assert own.history_shown == own.history_url
    assert other.history_shown == "postgresql://db.example/darkroom"
    for name in ("api", "generate-1", "deliver"):
        environment = part(own, name).environment
        assert environment["DARKROOM_HISTORY_URL"] == "sqlite:////srv/data/history/history.db"
        environment = part(other, name).environment
        assert environment["DARKROOM_HISTORY_URL"] == address


def test_the_processes_get_the_absolute_path_of_the_file_of_models(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models.yaml").write_text("models: []")
    plan = plan_for(settings=Settings(onemin_api_key="", models_file="models.yaml"))
    for name in ("api", "generate-1", "provider"):
        found = part(plan, name).environment["DARKROOM_MODELS_FILE"]
        assert found == str(tmp_path / "models.yaml")


def test_with_a_key_of_1min_there_is_no_sandbox_provider() -> None:
    plan = plan_for(settings=Settings(onemin_api_key="real"), DARKROOM_ONEMIN_API_KEY="real")
    assert plan.provider == "1min"
    assert Kind.PROVIDER not in {part.kind for part in services(plan)}
    assert "DARKROOM_ONEMIN_BASE_URL" not in part(plan, "api").environment


def test_the_real_key_is_not_sent_to_a_sandbox_that_was_asked_for() -> None:
    wish = StackOptions(Path("data"), provider="sandbox")
    plan = plan_for(wish, Settings(onemin_api_key="real"), DARKROOM_ONEMIN_API_KEY="real")
    for one in services(plan):
        assert "real" not in one.environment.values()


def test_other_terminals_are_told_how_to_find_the_stack() -> None:
    plan = plan_for(StackOptions(Path("/a folder")))
    (line,) = [line.strip() for line in lines(plan, "dk_key") if "DARKROOM_STACK" in line]
    assert line == "export DARKROOM_STACK='/a folder/stack.json'"


def test_each_worker_has_its_own_metrics_port() -> None:
    plan = plan_for()
    assert part(plan, "generate-1").environment["DARKROOM_METRICS_PORT"] == "20004"
    assert part(plan, "deliver").environment["DARKROOM_METRICS_PORT"] == "20005"
    assert plan.metrics_urls[1:] == [
        "http://127.0.0.1:20004/metrics",
        "http://127.0.0.1:20005/metrics",
    ]


def test_what_the_user_set_goes_before_the_defaults_of_the_stack() -> None:
    plan = plan_for(DARKROOM_PROVIDER_RATE_PER_MINUTE="7", DARKROOM_PUBLIC_URL="http://me")
    environment = part(plan, "api").environment
    assert environment["DARKROOM_PROVIDER_RATE_PER_MINUTE"] == "7"
    assert environment["DARKROOM_PUBLIC_URL"] == "http://me"


def test_a_setting_given_as_a_file_is_no_less_set() -> None:
    plan = plan_for(DARKROOM_PROVIDER_RATE_PER_MINUTE_FILE="/run/rate")
    assert "DARKROOM_PROVIDER_RATE_PER_MINUTE" not in part(plan, "api").environment


def test_the_sandbox_has_no_rate_limit_and_may_be_on_loopback() -> None:
    environment = part(plan_for(), "generate-1").environment
    assert environment["DARKROOM_PROVIDER_RATE_PER_MINUTE"] == "0"
    assert environment["DARKROOM_ONEMIN_BASE_URL"] == "http://127.0.0.1:20003"
    assert environment["DARKROOM_ONEMIN_ALLOW_PRIVATE_HOSTS"] == "127.0.0.1"


def test_a_redis_that_the_user_named_is_not_used_in_place_of_the_embedded_one() -> None:
    plan = plan_for(DARKROOM_REDIS_URL="redis://other/0", DARKROOM_S3_ENDPOINT_FILE="/run/s3")
    environment = part(plan, "api").environment
    assert environment["DARKROOM_REDIS_URL"] == "redis://127.0.0.1:20001/0"
    assert plan.unused == ["DARKROOM_REDIS_URL", "DARKROOM_S3_ENDPOINT"]


def test_settings_of_other_servers_do_not_reach_the_embedded_ones() -> None:
    plan = plan_for(
        DARKROOM_REDIS_REPLICAS="1",
        DARKROOM_S3_CREDENTIALS="aws",
        DARKROOM_S3_ENCRYPTION_FILE="/run/encryption",
        DARKROOM_S3_SECURE="",
    )

    environment = part(plan, "generate-1").environment

    assert environment["DARKROOM_REDIS_REPLICAS"] == "0"
    assert environment["DARKROOM_S3_CREDENTIALS"] == "keys"
    assert environment["DARKROOM_S3_ENCRYPTION"] == ""
    # an empty variable does not hide its file
    assert "DARKROOM_S3_ENCRYPTION_FILE" not in environment
    assert plan.unused == [
        "DARKROOM_REDIS_REPLICAS",
        "DARKROOM_S3_CREDENTIALS",
        "DARKROOM_S3_ENCRYPTION",
    ]


def test_a_proxy_does_not_lead_to_the_servers_of_this_machine() -> None:
    proxy = Settings(
        onemin_api_key="",
        egress_proxy="http://proxy.example:3128",
        egress_proxy_direct_hosts="api.example",
    )

    environment = part(plan_for(settings=proxy), "generate-1").environment

    direct = environment["DARKROOM_EGRESS_PROXY_DIRECT_HOSTS"].split(",")
    assert direct == ["api.example", "127.0.0.1", "localhost", "::1"]


def test_the_sandbox_gets_its_key_in_the_header_that_it_reads() -> None:
    environment = part(plan_for(DARKROOM_ONEMIN_AUTH_HEADER="X-Gateway"), "generate-1").environment

    assert environment["DARKROOM_ONEMIN_AUTH_HEADER"] == "API-KEY"


def test_a_worker_has_the_threads_asked_for_and_time_for_its_calls() -> None:
    settings = Settings(onemin_api_key="", provider_timeout_seconds=60)
    plan = plan_for(StackOptions(Path("data"), concurrency=7), settings)
    worker = part(plan, "generate-1")
    assert "--concurrency=7" in worker.command
    assert worker.environment["DARKROOM_CONCURRENCY"] == "7"
    assert worker.grace_seconds == 75


def test_no_secret_is_on_a_command_line() -> None:
    plan = plan_for()
    for one in [*servers(plan), *services(plan)]:
        assert "SECRET" not in " ".join(one.command)


def test_ports_stay_the_same_while_they_are_free() -> None:
    remembered = {"api": 9000, "redis": 21, "s3": 22, "provider": 23, "metrics": [24, 25]}
    chosen = choose(remembered, requested=None, workers=1, usable=lambda port: port != 22)
    assert (chosen.api, chosen.redis, chosen.provider) == (8000, 21, 23)
    assert chosen.metrics == (24, 25)
    assert chosen.s3 != 22


def test_the_default_port_gives_way_to_the_one_of_last_time() -> None:
    chosen = choose({"api": 9000}, requested=None, workers=2, usable=lambda port: port != 8000)
    assert chosen.api == 9000
    assert len({*chosen.metrics, chosen.redis, chosen.s3, chosen.provider, 9000}) == 7


def test_a_taken_port_that_was_asked_for_is_refused_by_name() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(PortTaken, match=f"Port {port} is taken"):
            choose({}, requested=port, workers=1)


@pytest.mark.parametrize(
    "remembered", [{"redis": "x", "metrics": 7}, {"redis": 70_000, "s3": -1, "metrics": [None]}]
)
def test_ports_that_no_stack_remembers_are_chosen_anew(remembered: dict[str, object]) -> None:
    chosen = choose(remembered, requested=None, workers=1)
    assert len({chosen.api, chosen.redis, chosen.s3, chosen.provider, *chosen.metrics}) == 6
