"""The provider's list of models is read, shown and compared, and decides nothing."""

from typing import Any

import httpx
import pytest
from structlog.testing import capture_logs

from sandbox.wait import wait_until
from shared.model_catalog import DEFAULT_MODEL
from shared.store.job_queries import service_stats
from shared.store.provider_models import ListedModel, ProviderModels, record_provider_models
from tests.support.api_server import client_of, served, settings, tenant_at
from tests.support.worker_harness import WorkerHarness
from worker.models_check import ModelsCheck, changes

ANOTHER = {
    "id": "acme/new-model",
    "name": "New",
    "description": "A model that only the provider has.",
    "source": "documented",
    "input": {
        "type": "object",
        "additionalProperties": False,
        "required": ["prompt"],
        "properties": {"prompt": {"type": "string"}},
    },
}


def check(harness: WorkerHarness) -> list[dict[str, Any]]:
    """Check the list although it is not due; return what is logged."""
    harness.world.client.hdel("{dr}:provider_models", "due")
    with capture_logs() as logs:
        ModelsCheck(harness.context).check()
    return [dict(entry) for entry in logs if entry["log_level"] == "warning"]


def found(harness: WorkerHarness) -> ProviderModels:
    return harness.world.store.run(service_stats()).provider_models


def test_the_list_is_read_once_in_an_interval(harness: WorkerHarness) -> None:
    with capture_logs() as logs:
        ModelsCheck(harness.context).check()
        first = found(harness)
        ModelsCheck(harness.context).check()
    assert logs == []
    assert first.checked_at is not None
    assert found(harness) == first
    assert first.models[DEFAULT_MODEL] == ListedModel(DEFAULT_MODEL, "active", 105)


def test_what_changed_is_logged_once_and_shown(harness: WorkerHarness) -> None:
    check(harness)
    second = next(name for name in harness.world.settings.models if name != DEFAULT_MODEL)
    harness.provider.models(
        removed=[second],
        disabled=[DEFAULT_MODEL],
        models=[ANOTHER],
        credits={"acme/new-model": 7},
    )

    logged = [(entry["model"], entry["status"]) for entry in check(harness)]

    assert logged == [
        (DEFAULT_MODEL, "disabled"),
        (second, "not listed"),
        ("acme/new-model", "new"),
    ]
    assert check(harness) == []
    inactive = found(harness).inactive(harness.world.settings.models)
    assert inactive == {DEFAULT_MODEL: "disabled", second: "not listed"}
    harness.provider.models(credits={DEFAULT_MODEL: 90})
    back, priced, *_ = check(harness)
    assert (back["model"], back["status"]) == (DEFAULT_MODEL, "active")
    assert (priced["credits"], priced["credits_before"]) == (90, 105)


def test_a_list_that_cannot_be_read_leaves_the_last_one(harness: WorkerHarness) -> None:
    check(harness)
    before = found(harness)
    away = harness.open_context(onemin_base_url="http://127.0.0.1:1")
    harness.world.client.hdel("{dr}:provider_models", "due")
    ModelsCheck(away).check()
    after = found(harness)
    assert (after.models, after.checked_at) == (before.models, before.checked_at)
    assert after.error is not None
    assert "cannot be asked" in after.error
    check(harness)
    assert found(harness).error is None


@pytest.mark.parametrize(
    "listed",
    [ListedModel("acme/next", "coming soon", 105.0), ListedModel("acme/next", "active ", None)],
)
def test_a_status_of_several_words_is_read_as_it_was_written(
    harness: WorkerHarness, listed: ListedModel
) -> None:
    harness.world.store.run(record_provider_models([listed]))
    assert found(harness).models == {"acme/next": listed}


def test_the_list_is_shown_and_decides_nothing(harness: WorkerHarness) -> None:
    harness.provider.models(disabled=[DEFAULT_MODEL], models=[ANOTHER])
    check(harness)
    redis_url = harness.world.settings.redis_url
    with served(settings(redis_url)) as url, tenant_at(url, redis_url) as api_server:

        def listing() -> Any:
            return api_server.client.get(f"/v1/models/{DEFAULT_MODEL}").json()["listing"]

        wait_until(lambda: listing() is not None, "the list")
        assert (listing()["status"], listing()["credits"]) == ("disabled", 105)
        assert api_server.client.get(f"/v1/models/{DEFAULT_MODEL}").json()["state"] == "available"
        assert api_server.create()["status"] == "queued"
        with client_of(url, api_server.credentials.ops_key) as operator:
            gate = operator.get("/ops/v1/queues").json()["gate"]
        assert gate["listing"]["inactive"] == {DEFAULT_MODEL: "disabled"}
        assert gate["listing"]["new"] == ["acme/new-model"]
        metrics = httpx.get(f"{url}/metrics").text
        name = f'darkroom_provider_model_inactive{{model="{DEFAULT_MODEL}"}} 1.0'
        wait_until(lambda: name in httpx.get(f"{url}/metrics").text, metrics[:0] or "the gauge")


@pytest.mark.parametrize(
    ("before", "after", "status"),
    [
        (None, "active", []),
        (None, "disabled", ["disabled"]),
        (None, None, ["not listed"]),
        ("active", "active", []),
        ("active", None, ["not listed"]),
        ("disabled", "active", ["active"]),
        ("disabled", "disabled", []),
    ],
)
def test_a_change_is_what_differs_from_before(
    before: str | None, after: str | None, status: list[str]
) -> None:
    def listed(word: str | None) -> dict[str, ListedModel]:
        return {"m": ListedModel("m", word, None)} if word else {}

    known = listed(before) if before else None
    assert [one["status"] for one in changes({"m": 0}, known, listed(after))] == status
