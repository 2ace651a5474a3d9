"""Replicate's JavaScript package and Vercel's AI SDK for Replicate as they are, run by Node.js."""

import json

import pytest

from shared.model_catalog import DEFAULT_MODEL
from tests.compat.conftest import Place
from tests.support import node

pytestmark = pytest.mark.xdist_group("dialects")

HERE = node.HOME / "replicate"
JPEG = "ffd8ff"


def test_the_packages_do_what_their_documentation_shows(place: Place) -> None:
    node.install(HERE)
    service = {"auth": place.key, "baseUrl": f"{place.api}/replicate/v1", "model": DEFAULT_MODEL}

    told = json.loads(node.run(HERE / "predictions.mjs", json.dumps(service)))

    assert (told["block"], told["poll"], told["version"]) == (JPEG, JPEG, JPEG)
    assert told["status"] == ["starting", "succeeded"]
    assert (told["read"], told["listed"], told["canceled"]) == (7, True, "succeeded")
    assert DEFAULT_MODEL in told["models"]
    assert (told["account"], told["secret"]) == ("organization", "whsec_")
    assert told["sdk"] == [JPEG]
    assert told["input"]["status"] == 422
    for name in ("files", "deployments", "trainings"):
        assert told[name]["status"] == 404
        assert "Darkroom generates images from prompts only" in told[name]["message"]
    assert place.paid() == 5
