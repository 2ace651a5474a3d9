"""Model Context Protocol tools with which a language model generates images."""

import base64
import io
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.server.mcpserver.tools import Tool
from mcp.types import (
    CallToolResult,
    ContentBlock,
    ImageContent,
    ResourceLink,
    TextContent,
    ToolAnnotations,
)
from PIL import Image as PillowImage
from pydantic import BaseModel, BeforeValidator, Field

from darkroom.async_client import AsyncClient, Job
from darkroom.errors import DarkroomError, StillRunning, naming
from darkroom.images import AsyncImage

#: The longer side of a preview in pixels: enough to judge an image, about 20 KB.
PREVIEW_PIXELS = 512
_PREVIEW_QUALITY = 70
_WAIT_SECONDS = 55
_INSTRUCTIONS = (
    "Generates images. A result contains a small preview and a link to the full image; the link "
    "needs no key and is valid as long as the image is kept, unless the operator set a limit. The "
    "same input and seed generate the same image."
)


class ImageJob(BaseModel):
    """A job as the tools return it; there is no image until `status` is `succeeded`."""

    job_id: str
    status: Literal["queued", "running", "succeeded", "failed", "canceled"]
    model: str = Field(description="The model that made the image, or was requested")
    prompt: str
    seed: int | None = Field(description="Reuse it to generate the same image again")
    url: str | None = Field(description="URL of the image; needs no key")
    content_type: str | None
    width: int | None
    height: int | None
    bytes: int | None
    warnings: list[str] = Field(description="How the image differs from the request")
    waiting_on: str | None
    eta_seconds: float | None
    error_code: str | None
    error_message: str | None


class OfferedModel(BaseModel):
    """A model as `list_models` returns it."""

    id: str
    name: str
    description: str
    state: str
    input_schema: dict[str, Any] = Field(description="JSON Schema of its parameters")


class OfferedModels(BaseModel):
    """The models that can generate images."""

    models: list[OfferedModel]


Result = Annotated[CallToolResult, ImageJob]


def _no_boolean(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError("must be an integer")  # noqa: TRY004  pydantic reports a ValueError
    return value


Integer = Annotated[int, BeforeValidator(_no_boolean)]
Wait = Annotated[
    Integer, Field(ge=1, le=_WAIT_SECONDS, description="Maximum number of seconds to wait")
]


class _Tool(Tool):
    """A tool that refuses unknown parameters: an image that ignores one would still be paid for."""

    async def run(self, arguments: dict[str, Any], *context: Any, **options: Any) -> Any:  # noqa: ANN401  as the base class
        """Run the tool; raise ToolError, listing the known parameters, for an unknown one."""
        properties = self.parameters["properties"]
        if unknown := sorted(arguments.keys() - properties.keys()):
            known = f"Its parameters are {', '.join(properties)}." if properties else "It has none."
            raise ToolError(f"{self.name} has no parameter {', '.join(unknown)}. {known}")
        return await super().run(arguments, *context, **options)


def _tool(fn: Callable[..., Any], **hints: bool) -> Tool:
    tool = _Tool.from_function(fn, annotations=ToolAnnotations(**hints))
    tool.parameters["additionalProperties"] = False
    return tool


@dataclass(frozen=True, slots=True)
class ImageTools:
    """The tools, which send their requests with `client`."""

    client: AsyncClient

    async def generate_image(  # noqa: PLR0913, PLR0917  the arguments of the tool
        self,
        prompt: Annotated[str, Field(description="What the image should show")],
        aspect_ratio: Literal["1:1", "16:9", "9:16", "3:2", "2:3", "4:5", "5:4"] | None = None,
        output_format: Literal["webp", "jpg", "png"] | None = None,
        megapixels: Literal["0.25", "1"] | None = None,
        seed: Annotated[
            Integer | None, Field(ge=0, description="Chosen at random by default")
        ] = None,
        model: Annotated[
            str | None, Field(description="An id of list_models; by default FLUX.2 Klein 9B")
        ] = None,
        parameters: Annotated[
            dict[str, Any] | None,
            Field(description="Further parameters of the model, as list_models describes them"),
        ] = None,
        fallback_models: Annotated[
            list[str] | Literal["default"] | None,
            Field(description="Models that generate the image while `model` is not available"),
        ] = None,
        wait_seconds: Wait = _WAIT_SECONDS,
    ) -> Result:
        """Generate an image and wait for it. This costs credits.

        aspect_ratio, output_format, megapixels and seed are for the models that have them. If it
        takes longer than wait_seconds, call get_image_job with the returned job_id.
        """
        options: dict[str, Any] = {
            "model": model,
            "fallback_models": fallback_models,
            "input": parameters,
            "aspect_ratio": aspect_ratio,
            "output_format": output_format,
            "megapixels": megapixels,
            "seed": seed,
        }
        try:
            job = await self.client.submit(prompt, **options)
            with naming(job):
                return await _result(await _final(self.client, job.id, wait_seconds))
        except DarkroomError as error:
            hint = " Call get_image_job with this id." if error.job else ""
            raise ToolError(f"{error}{hint}") from error

    async def get_image_job(self, job_id: str, wait_seconds: Wait = 1) -> Result:
        """Get the status of an image job, and the image once it is ready."""
        try:
            return await _result(await _final(self.client, job_id, wait_seconds))
        except DarkroomError as error:
            raise ToolError(str(error)) from error

    async def list_models(self) -> OfferedModels:
        """List the models that can generate images, with their parameters. This is free."""
        try:
            found = await self.client.models()
        except DarkroomError as error:
            raise ToolError(str(error)) from error
        shown = [OfferedModel.model_validate(one, from_attributes=True) for one in found]
        return OfferedModels(models=shown)


def build_server(client: AsyncClient) -> MCPServer[Any]:
    """Build the server with its tools, which send their requests with `client`."""
    of = ImageTools(client)
    tools = [
        _tool(of.generate_image, destructive_hint=False, idempotent_hint=False),
        _tool(of.get_image_job, read_only_hint=True),
        _tool(of.list_models, read_only_hint=True),
    ]
    return MCPServer("darkroom", instructions=_INSTRUCTIONS, log_level="ERROR", tools=tools)


async def _final(client: AsyncClient, job_id: str, seconds: int) -> Job:
    """Wait up to `seconds` for a job to end; return its state by then."""
    try:
        return await client.wait(job_id, timeout_seconds=seconds)
    except StillRunning as running:
        return running.job


async def _result(job: Job) -> CallToolResult:
    content: list[ContentBlock] = []
    if job.image:
        content += [await _preview(job.image), _link(job.image)]
    content.append(TextContent(type="text", text=_sentence(job)))
    dumped = _image_job(job).model_dump()
    return CallToolResult(
        content=content, structured_content=dumped, is_error=job.status in {"failed", "canceled"}
    )


async def _preview(image: AsyncImage) -> ImageContent:
    with PillowImage.open(io.BytesIO(await image.bytes())) as opened:
        opened.thumbnail((PREVIEW_PIXELS, PREVIEW_PIXELS))
        written = io.BytesIO()
        opened.convert("RGB").save(written, "JPEG", quality=_PREVIEW_QUALITY)
    data = base64.b64encode(written.getvalue()).decode()
    return ImageContent(type="image", data=data, mime_type="image/jpeg")


def _link(image: AsyncImage) -> ResourceLink:
    return ResourceLink(
        type="resource_link",
        name=f"{image.job_id}{image.extension}",
        uri=image.url,
        mime_type=image.content_type,
        size=image.size_bytes,
        description=f"The image, {image.width} x {image.height}",
    )


def _sentence(job: Job) -> str:
    if job.image:
        seed = "" if job.image.seed is None else f", seed {job.image.seed}"
        return f"{job.id}: {job.image.width} x {job.image.height}{seed}."
    if job.error:
        return f"{job.id} failed: {job.error.message} ({job.error.code})"
    if job.is_final:
        return f"{job.id} was canceled."
    waits = f", waiting on {job.waiting_on}" if job.waiting_on else ""
    return f"{job.id} is {job.status}{waits}. Call get_image_job later."


def _image_job(job: Job) -> ImageJob:
    image, error = job.image, job.error
    return ImageJob(
        job_id=job.id,
        status=job.status,
        model=job.served_model or job.model,
        prompt=str(job.input.get("prompt", "")),
        seed=job.input.get("seed"),
        url=image and image.url,
        content_type=image and image.content_type,
        width=image and image.width,
        height=image and image.height,
        bytes=image and image.size_bytes,
        warnings=list(image.warnings) if image else [],
        waiting_on=job.waiting_on,
        eta_seconds=job.eta_seconds,
        error_code=error and error.code,
        error_message=error and error.message,
    )


async def serve(client: AsyncClient) -> None:
    """Serve the tools over stdin and stdout until stdin ends."""
    async with client:
        with suppress(BrokenPipeError):
            await build_server(client).run_stdio_async()
