"""The way to the model: HTTP over the gateway's socket, with what is counted on it."""

from dataclasses import dataclass
from typing import Any

import httpx

PURPOSE = "X-Harness-Purpose"


@dataclass
class Refusal:
    """An answer of the gateway that is an error."""

    status: int
    code: str
    message: str


class Wire:
    """Counts the calls that the gateway answers, and keeps its last refusal."""

    def __init__(self, socket: str) -> None:
        self.turns = 0
        self.prompt_tokens = 0
        self.generated_tokens = 0
        self.refusal: Refusal | None = None
        self.client = httpx.AsyncClient(
            transport=httpx.AsyncHTTPTransport(uds=socket),
            event_hooks={"response": [self._answered]},
        )

    async def _answered(self, response: httpx.Response) -> None:
        await response.aread()
        body = _object(response)
        if not response.is_success:
            error = body.get("error")
            error = error if isinstance(error, dict) else body
            self.refusal = Refusal(
                response.status_code, str(error.get("code")), str(error.get("message"))
            )
            return
        self.refusal = None
        if PURPOSE not in response.request.headers:
            self.turns += 1
        usage = body.get("usage")
        if isinstance(usage, dict):
            self.prompt_tokens += _count(usage.get("prompt_tokens"))
            self.generated_tokens += _count(usage.get("completion_tokens"))


def _object(response: httpx.Response) -> dict[str, Any]:
    try:
        value = response.json()
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _count(value: Any) -> int:
    return value if isinstance(value, int) and value > 0 else 0
