"""Requests to another process, tried again while it is busy or away."""

import httpx
import orjson
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential_jitter

from trainers.engine.errors import TeacherError

_BUSY = {408, 429, 500, 502, 503, 504}
_SHOWN = 400  # characters of a server's own words
_LOCAL = "unix:"


class _TryAgainError(Exception):
    """A request that may succeed later."""


class HttpClient:
    """Requests to one server, from any number of threads.

    endpoint: `http://HOST:PORT`, or `unix:PATH`. attempts: how often a request is tried where the
    server is busy, restarts, or cannot be reached, with growing pauses, from `pause_s` to a minute.
    """

    def __init__(
        self,
        endpoint: str,
        *,
        headers: dict[str, str] | None = None,
        timeout_s: float = 600,
        attempts: int = 8,
        pause_s: float = 1,
        connections: int = 16,
    ) -> None:
        self.endpoint = endpoint
        self.attempts = attempts
        self._pause = pause_s
        local = endpoint.startswith(_LOCAL)
        limits = httpx.Limits(max_connections=connections)
        self._client = httpx.Client(
            base_url="http://teacher" if local else endpoint,
            headers=headers,
            timeout=httpx.Timeout(timeout_s, connect=10),
            limits=limits,
            transport=httpx.HTTPTransport(uds=endpoint.removeprefix(_LOCAL), limits=limits)
            if local
            else None,
        )

    def ask(
        self,
        method: str,
        path: str,
        content: bytes | None = None,
        kind: str = "application/json",
        *,
        most_bytes: int | None = None,
    ) -> httpx.Response:
        """An answer of any status that is no passing trouble. Raises TeacherError for that, and for
        an answer of more than `most_bytes`."""
        retrying = Retrying(
            retry=retry_if_exception_type(_TryAgainError),
            stop=stop_after_attempt(self.attempts),
            wait=wait_exponential_jitter(initial=self._pause, max=60, jitter=self._pause),
            reraise=True,
        )
        try:
            return retrying(self._once, method, path, content, kind, most_bytes)
        except _TryAgainError as error:
            raise TeacherError(
                f"teacher {self.endpoint}{path}: {error}, {self.attempts} times: is the server up? "
                "The same command continues"
            ) from None

    def refused(self, path: str, answer: httpx.Response) -> TeacherError:
        """An answer that is an error, as one of ours."""
        return TeacherError(
            f"teacher {self.endpoint}{path}: status {answer.status_code}: {_message(answer)}"
        )

    def _once(
        self, method: str, path: str, content: bytes | None, kind: str, most_bytes: int | None
    ) -> httpx.Response:
        headers = {} if content is None else {"Content-Type": kind}
        try:
            with self._client.stream(method, path, content=content, headers=headers) as response:
                answer = self._whole(response, path, most_bytes)
        except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
            raise TeacherError(
                f"teacher.endpoint {self.endpoint!r}: {error}; give http://HOST:PORT"
            ) from None
        except httpx.TransportError as error:
            raise _TryAgainError(str(error) or type(error).__name__) from None
        if answer.status_code in _BUSY:
            raise _TryAgainError(f"status {answer.status_code} ({_message(answer)})")
        return answer

    def _whole(self, response: httpx.Response, path: str, most: int | None) -> httpx.Response:
        if most is None:
            response.read()
            return response
        parts, size = [], 0
        for part in response.iter_bytes():
            parts.append(part)
            size += len(part)
            if size > most:
                raise TeacherError(
                    f"teacher {self.endpoint}{path}: the answer is larger than {most:,} bytes: it "
                    "is not what was asked for"
                )
        return httpx.Response(response.status_code, content=b"".join(parts))


def _message(answer: httpx.Response) -> str:
    """What a server says about an error."""
    try:
        found = orjson.loads(answer.content)
        found = found.get("error", found)
        text = str(found.get("message", found))
    except (orjson.JSONDecodeError, AttributeError):
        text = answer.text
    return " ".join(text.split())[:_SHOWN]
