"""`darkroom mcp`, spoken to by the protocol's own client over stdio."""

import asyncio
import base64
import io
import subprocess
from typing import Any

import httpx
import pytest
from mcp import Client, StdioServerParameters
from mcp.server.mcpserver.exceptions import ToolError
from mcp.types import CallToolResult, ImageContent, ResourceLink
from PIL import Image

from darkroom import AsyncClient, RetryPolicy
from darkroom.mcp_server import ImageTools
from tests.client.conftest import Sandbox
from tests.e2e.up import DARKROOM

pytestmark = pytest.mark.xdist_group("client")


async def call(environment: dict[str, str], asked: dict[str, Any]) -> list[CallToolResult]:
    """Have an image made, read its job, and ask for what does not exist."""
    program = StdioServerParameters(command=str(DARKROOM), args=["mcp"], env=environment)
    async with Client(program) as client:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        assert tools.keys() == {"generate_image", "get_image_job", "list_models"}
        assert all(tool.output_schema for tool in tools.values())
        assert all(tool.input_schema["additionalProperties"] is False for tool in tools.values())
        made = await client.call_tool("generate_image", asked)
        job = {"job_id": (made.structured_content or {})["job_id"]}
        return [
            made,
            await client.call_tool("get_image_job", job),
            await client.call_tool("get_image_job", {"job_id": "job_none"}),
            await client.call_tool("generate_image", {"prompt": " "}),
            await client.call_tool("generate_image", {"prompt": "A pier", "size": "1024x512"}),
            await client.call_tool("generate_image", {"prompt": "A pier", "seed": True}),
            await client.call_tool("get_image_job", {**job, "wait": 5}),
        ]


def test_the_tools_give_a_preview_a_link_and_the_facts(
    environment: dict[str, str], sandbox: Sandbox
) -> None:
    paid = sandbox.paid()
    asked = {"prompt": "A pier", "aspect_ratio": "16:9", "seed": 7}
    made, read, missing, wrong, sized, seeded, waited = asyncio.run(call(environment, asked))
    facts = made.structured_content
    assert (facts["status"], facts["seed"], facts["prompt"]) == ("succeeded", 7, "A pier")
    preview, link, _ = made.content
    assert isinstance(preview, ImageContent)
    with Image.open(io.BytesIO(base64.b64decode(preview.data))) as image:
        assert max(image.size) == 512
    assert isinstance(link, ResourceLink)
    assert httpx.get(str(link.uri)).headers["content-type"] == facts["content_type"]
    assert read.structured_content == facts
    assert (missing.is_error, wrong.is_error) == (True, True)
    assert "There is no such job." in str(missing.content[0])
    assert "/input/prompt" in str(wrong.content[0])
    for refused, words in (
        (sized, ("size", "aspect_ratio", "megapixels")),
        (seeded, ("seed", "must be an integer")),
        (waited, ("wait", "job_id", "wait_seconds")),
    ):
        assert refused.is_error
        assert all(word in str(refused.content[0]) for word in words)
    assert sandbox.paid() == paid + 1


def test_an_error_after_the_job_was_created_names_it() -> None:
    def service(request: httpx.Request) -> httpx.Response:
        if request.method == "POST":
            return httpx.Response(202, json={"id": "job_1", "status": "queued", "input": {}})
        return httpx.Response(503, json={"code": "redis_down", "detail": "Redis did not respond."})

    client = AsyncClient(
        "http://darkroom",
        "dk",
        transport=httpx.MockTransport(service),
        retry_policy=RetryPolicy(retries=0),
    )
    with pytest.raises(ToolError, match=r"Redis did not respond.*job_1.*get_image_job"):
        asyncio.run(ImageTools(client).generate_image("x"))


def test_a_key_with_a_line_break_behind_it_opens_and_one_with_more_is_not_shown(
    environment: dict[str, str], sandbox: Sandbox
) -> None:
    key = environment["DARKROOM_API_KEY"]
    asked = {"prompt": "A quay", "megapixels": "0.25"}
    made, *_ = asyncio.run(call({**environment, "DARKROOM_API_KEY": f"{key}\n"}, asked))
    assert not made.is_error
    ended = subprocess.run(
        [DARKROOM, "mcp"],
        env={**environment, "DARKROOM_API_KEY": f"{key}\nX-Other: y"},
        input="",
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.startswith("The key in DARKROOM_API_KEY has a character that no key has")
    assert key not in ended.stderr
