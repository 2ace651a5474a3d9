"""The TypeScript client, installed from its package: the examples of its README, and faults."""

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import pytest
from PIL import Image
from standardwebhooks import Webhook

from tests.e2e.up import Up
from tests.support import node, typescript, uv

pytestmark = pytest.mark.xdist_group("packages")

HERE = Path(__file__).parent
README = (typescript.HOME / "README.md").read_text("utf-8")
_EXAMPLE = re.compile(r"^```ts\n(.*?)^```", re.MULTILINE | re.DOTALL)
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the package, and with the one that verifies webhooks."""
    package = typescript.pack(tmp_path_factory.mktemp("npm"))
    folder = tmp_path_factory.mktemp("project")
    typescript.install(package, folder)
    node.install()
    (folder / "node_modules" / "standardwebhooks").symlink_to(node.PACKAGES / "standardwebhooks")
    return folder


def test_the_package_needs_no_other_and_has_its_licence(installed: Path) -> None:
    package = installed / "node_modules" / "darkroom-client"
    described = json.loads((package / "package.json").read_text("utf-8"))

    assert "dependencies" not in described
    assert {"LICENSE", "README.md", "dist"} <= {path.name for path in package.iterdir()}
    assert {"index.js", "index.d.ts", "openapi.d.ts"} <= {
        path.name for path in (package / "dist").iterdir()
    }


def test_the_examples_of_the_readme_run(installed: Path, address: Mapping[str, str]) -> None:
    examples = [code for code in _EXAMPLE.findall(README) if "new Darkroom()" in code]
    assert len(examples) >= 5

    told = [_run(installed, f"example-{n}.ts", code, address) for n, code in enumerate(examples)]

    for name in ("lighthouse.webp", "pier.png", "pier-small.webp", "harbour.webp"):
        with Image.open(installed / name) as image:
            image.verify()
    assert len(list(installed.glob("job_*.webp"))) == 2
    assert list(installed.glob("*.part")) == []
    assert "/input/output_quality" in told[-1]


def test_the_example_of_webhooks_accepts_signed_ones_only(installed: Path) -> None:
    [example] = [code for code in _EXAMPLE.findall(README) if "standardwebhooks" in code]
    body = json.dumps({"type": "job.succeeded", "data": {"id": "job_1"}})
    now = datetime.now(UTC)
    headers = {
        "webhook-id": "evt_1",
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": Webhook(SECRET).sign("evt_1", now, body),
    }

    def received(content: str) -> str:
        call = f"receive({json.dumps(content)}, {json.dumps(headers)}, {json.dumps(SECRET)})"
        shown = f"try {{ console.log({call}) }} catch (error) {{ console.log(error.name) }}"
        return _run(installed, "receive.ts", f"{example}\n{shown}\n", {}).strip()

    assert received(body) == "job_1 is there"
    assert received(body + " ") == "WebhookVerificationError"


def test_the_client_survives_lost_replies_and_names_every_fault(
    installed: Path, address: Mapping[str, str], stack: Up
) -> None:
    script = (HERE / "client.mjs").read_text("utf-8")
    behavior = f"{stack.state['provider_url']}/_sandbox/behavior"

    answers = _run(installed, "client.mjs", script, {**address, "SANDBOX_BEHAVIOR": behavior})

    told = json.loads(answers)

    [created] = told["lost"]["created"]
    assert told["lost"] == {
        "requests": 4,
        "created": [created],
        "job": created,
        "status": "succeeded",
    }
    assert told["batch"] == {"statuses": ["succeeded"] * 3, "different": 3}
    assert told["refused"] == {
        "known": True,
        "code": "invalid_request",
        "pointers": ["/input/output_quality", "/input/surely"],
    }
    assert told["stranger"] == {"status": 401, "code": "unauthenticated"}
    assert told["proxy"] == {"known": True, "status": 502}
    assert told["impatient"] == {"requests": 1, "status": 503}
    assert told["aborted"] == {"name": "AbortError", "requests": 1}
    assert told["overloaded"] == {"status": 503, "requests": 1}
    assert (told["late"], told["canceled"], told["failed"]) == (True, "canceled", True)
    assert told["named"] == [["DarkroomError", created, True], ["TypeError", created, True]]
    assert "DARKROOM_URL" in told["unset"]
    assert "SHA-256" in told["damaged"]
    assert told["saved"] == [False, True]
    assert {*told["keys"]} == {
        "The key has a character that no header can carry: copy the key again."
    }
    [about_urls] = {*told["urls"]}
    assert "must begin with http:// or https://, without user" in about_urls


def _run(folder: Path, name: str, code: str, told: Mapping[str, str]) -> str:
    (folder / name).write_text(code, encoding="utf-8")
    return uv.execute(node.NODE, name, home=folder, told=told)
