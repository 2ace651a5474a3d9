"""The URLs of the stack, printed at its start."""

import shlex
from urllib.parse import urlencode

from sandbox.devstack.plan import LOOPBACK, Plan
from sandbox.devstack.state import FILE


def lines(plan: Plan, api_key: str) -> list[str]:
    """Return one line for each URL.

    The playground's contains the local tenant's key in its fragment, which browsers do not send: it
    grants access to this machine only. Other keys are not printed, because terminals are recorded.
    The last line is for other terminals: with it every command finds this stack.
    """
    named = {
        "playground": f"{plan.api_url}/#{urlencode({'key': api_key})}",
        "console": f"{plan.api_url}/ops",
        "reference": f"{plan.api_url}/docs",
        "API": f"{plan.api_url}/v1/jobs",
        "provider": f"{plan.provider_url} ({plan.provider})",
        "S3": f"http://{plan.s3_endpoint}/{plan.settings.s3_bucket}",
        "Redis": f"redis://{LOOPBACK}:{plan.ports.redis}/0",
        "history": plan.history_shown,
        "metrics": " ".join(plan.metrics_urls),
        "logs": str(plan.options.data / "logs"),
        "keys": f"{plan.options.data / FILE} (api_key, ops_key, …)",
    }
    lines = [f"  {name:<12}{address}" for name, address in named.items()]
    return [*lines, f"  export DARKROOM_STACK={shlex.quote(str(plan.options.data / FILE))}"]
