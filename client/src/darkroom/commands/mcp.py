"""`darkroom mcp`: the tools for language models, over stdin and stdout."""

import asyncio

from darkroom.commands.connection import HERE, Where
from darkroom.commands.exits import DONE
from darkroom.errors import UsageError


def mcp(*, where: Where = HERE) -> int:
    """Serve the MCP tools `generate_image`, `get_image_job` and `list_models` over stdio.

    MCP clients start this command themselves: configure `darkroom mcp` as the command, with
    DARKROOM_URL and DARKROOM_API_KEY in its environment.
    Needs `pip install 'darkroom-client[mcp]'`.
    """
    try:
        from darkroom.mcp_server import serve  # noqa: PLC0415  an extra, and half a second
    except ModuleNotFoundError as error:
        raise UsageError(
            f"{error.name} is missing: pip install 'darkroom-client[mcp]' installs it."
        ) from None
    asyncio.run(serve(where.async_client()))
    return DONE
