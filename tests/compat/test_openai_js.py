"""OpenAI's JavaScript package as it is, run by a Node.js of the lock file."""

import json

import pytest

from shared.model_catalog import DEFAULT_MODEL
from tests.compat.conftest import Place
from tests.support import node

pytestmark = pytest.mark.xdist_group("dialects")

HERE = node.HOME / "openai"


def test_the_package_does_what_its_documentation_shows(place: Place) -> None:
    node.install(HERE)
    service = {"apiKey": place.key, "baseURL": f"{place.api}/openai/v1"}

    told = json.loads(node.run(HERE / "images.mjs", json.dumps(service)))

    assert told["starts"] == ["89504e47", "89504e47"]
    assert told["image"] == "image/png"
    assert DEFAULT_MODEL in told["models"]
    assert told["size"] == {"kind": "BadRequestError", "status": 400, "param": "size"}
    assert told["key"]["kind"] == "AuthenticationError"
    assert place.paid() == 3
