"""The model endpoint: requests, what their failures mean, and when they are repeated."""

import asyncio
import io
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import urlsplit

import aiohttp
import orjson

from harness.agents.base import Endpoint
from harness.gateway.answers import Tokens, check_shape, parse_answer
from harness.gateway.breaker import Breaker
from harness.gateway.failures import EndpointError, PassingError, RejectedError
from harness.gateway.options import GatewayOptions
from harness.gateway.wire import Json

T = TypeVar("T")

_PASSING = frozenset({408, 409, 425, 429})
_REJECTED = frozenset({400, 413, 422})
_OVERFLOW = ("maximum context length", "maximum model length", "available context size")
_KEEP_ALIVE_SECONDS = 4.0  # shorter than any server's own, so that none closes under a request
_LARGE_BYTES = 2**20
_SHOWN = 2000


@dataclass
class Tries:
    """The requests made for one call."""

    requests: int = 0
    failures: list[str] = field(default_factory=list)

    @property
    def retries(self) -> int:
        """Requests beyond the first."""
        return max(self.requests - 1, 0)


class Upstream:
    """A connection pool to one endpoint, in the event loop that makes it."""

    def __init__(self, endpoint: Endpoint, options: GatewayOptions) -> None:
        self._endpoint = endpoint
        self._options = options
        self._breaker = Breaker(options)
        self._card: Json | None = None
        self._base = endpoint.base_url.rstrip("/")
        self._chat = f"{self._base}/chat/completions"
        self._key = endpoint.api_key.get_secret_value().encode() if endpoint.api_key else b""
        headers = {"Content-Type": "application/json", "Accept-Encoding": "identity"}
        if self._key:
            headers["Authorization"] = f"Bearer {self._key.decode()}"
        connector: aiohttp.BaseConnector
        if endpoint.socket is None:
            connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=_KEEP_ALIVE_SECONDS)
        else:
            connector = aiohttp.UnixConnector(
                str(endpoint.socket), limit=0, keepalive_timeout=_KEEP_ALIVE_SECONDS
            )
        self._session = aiohttp.ClientSession(
            connector=connector,
            headers=headers,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=options.connect_seconds),
        )

    async def close(self) -> None:
        """Close all connections."""
        await self._session.close()

    async def whole(self, body: bytes, tries: Tries) -> tuple[Json, Tokens]:
        """The answer to a chat request that does not stream, and its token ids.

        Raises EndpointError, RejectedError.
        """

        async def once() -> tuple[Json, Tokens]:
            parsed, prompt = await self._json("POST", self._chat, body)
            answer = check_shape(parsed, "message")
            if not answer["choices"]:
                raise PassingError("the answer has no choices")
            tokens = Tokens(prompt)
            tokens.take(answer)
            return answer, tokens

        return await self._persist(once, tries)

    async def stream(
        self, body: bytes, tries: Tries, begin: Callable[["Events"], Awaitable[T]]
    ) -> T:
        """A streamed answer, from the first request whose stream `begin` accepts.

        Raises EndpointError, RejectedError.
        """

        async def once() -> T:
            async with self._mapped():
                async with asyncio.timeout(self._options.call_seconds):
                    response = await self._request("POST", self._chat, body)
            events = Events(response, self._options)
            try:
                return await begin(events)
            except BaseException:
                events.close()
                raise

        return await self._persist(once, tries)

    async def card(self) -> Json:
        """The model's entry of `/models`, asked once. Raises EndpointError, RejectedError."""
        if self._card is not None:
            return self._card

        async def once() -> Json:
            answer, _ = await self._json("GET", f"{self._base}/models", None)
            entries = answer.get("data") if isinstance(answer, dict) else None
            for entry in entries if isinstance(entries, list) else ():
                if isinstance(entry, dict) and entry.get("id") == self._endpoint.model:
                    return entry
            return {"id": self._endpoint.model, "object": "model"}

        self._card = await self._persist(once, Tries())
        return self._card

    async def tokenize(self, body: Json) -> list[int]:
        """The ids of vLLM's `/tokenize`, which stands beside `/v1`.

        Raises PassingError, EndpointError, RejectedError; tried once.
        """
        url = self._base.removesuffix("/v1") + "/tokenize"
        answer, _ = await self._json("POST", url, orjson.dumps(body))
        tokens = answer.get("tokens") if isinstance(answer, dict) else None
        if not isinstance(tokens, list):
            raise PassingError("/tokenize gave no tokens")
        return tokens

    def cut(self) -> None:
        """A stream that had begun broke off."""
        self._breaker.failed()

    async def _persist(self, once: Callable[[], Awaitable[T]], tries: Tries) -> T:
        options = self._options
        while True:
            probe = await self._breaker.admit()
            try:
                tries.requests += 1
                value = await once()
            except PassingError as failure:
                self._breaker.failed(probe=probe)
                tries.failures.append(str(failure))
                if len(tries.failures) >= options.tries:
                    times = f"{len(tries.failures)} times"
                    raise EndpointError(f"{self._where}: {failure} ({times})") from None
                asked = failure.retry_after
            except RejectedError:
                self._breaker.succeeded()
                raise
            else:
                self._breaker.succeeded()
                return value
            finally:
                if probe:
                    self._breaker.probed()
            longest = min(
                options.first_pause_seconds * 2 ** (len(tries.failures) - 1),
                options.longest_pause_seconds,
            )
            pause = random.uniform(0, longest)  # noqa: S311
            await asyncio.sleep(max(pause, min(asked, options.longest_pause_seconds)))

    async def _json(self, method: str, url: str, body: bytes | None) -> tuple[Any, bytes]:
        """What `parse_answer` makes of an answer."""
        async with self._mapped(), asyncio.timeout(self._options.call_seconds):
            response = await self._request(method, url, body)
            try:
                data = await self._read(response)
            finally:
                response.release()
        try:
            return parse_answer(data)
        except orjson.JSONDecodeError:
            raise PassingError(f"answered 200 without JSON: {self._shown(data)!r}") from None

    async def _request(self, method: str, url: str, body: bytes | None) -> aiohttp.ClientResponse:
        data = io.BytesIO(body) if body is not None and len(body) > _LARGE_BYTES else body
        response = await self._session.request(method, url, data=data, allow_redirects=False)
        if response.status == 200:
            return response
        try:
            await self._explain(response)
        finally:
            response.close()
        raise AssertionError("unreachable")

    async def _explain(self, response: aiohttp.ClientResponse) -> None:
        """Raise what a status other than 200 means."""
        status = response.status
        body = await self._read(response)
        said = f"answered {status}: {self._shown(body)}"
        if status >= 500 or status in _PASSING:
            retry_after = _seconds(response.headers.get("Retry-After"))
            raise PassingError(said, retry_after=retry_after)
        if status in _REJECTED:
            message, code = _message(body)
            overflow = code == "context_length_exceeded" or any(p in message for p in _OVERFLOW)
            raise RejectedError(status, self._redacted(body), said, overflow=overflow)
        hints = {
            401: "; check the key",
            403: "; check the key",
            404: "; a base_url usually ends in /v1, and the model must be one that it serves",
        }
        raise EndpointError(f"{self._where}: {said}{hints.get(status, '')}")

    async def _read(self, response: aiohttp.ClientResponse) -> bytes:
        parts, size = [], 0
        while part := await response.content.readany():
            parts.append(part)
            size += len(part)
            if size > self._options.answer_bytes:
                response.close()
                raise PassingError(f"the answer is larger than {self._options.answer_bytes} bytes")
        return b"".join(parts)

    @asynccontextmanager
    async def _mapped(self) -> AsyncIterator[None]:
        """Connection errors and time-outs as PassingError."""
        try:
            yield
        except TimeoutError:
            raise PassingError("no answer in time") from None
        except (aiohttp.ClientError, OSError) as error:
            text = self._shown(str(error).encode())
            raise PassingError(f"{type(error).__name__}: {text}") from None

    @property
    def _where(self) -> str:
        """The endpoint's address, without what a URL can hold of secrets."""
        parts = urlsplit(self._base)
        host = parts.netloc.rpartition("@")[2]
        return f"{parts.scheme}://{host}{parts.path}"

    def _shown(self, data: bytes) -> str:
        return self._redacted(data)[:_SHOWN].decode(errors="replace")

    def _redacted(self, data: bytes) -> bytes:
        return data.replace(self._key, b"[key]") if self._key else data


class Events:
    """The bytes of a streamed answer, as they come."""

    def __init__(self, response: aiohttp.ClientResponse, options: GatewayOptions) -> None:
        self._response = response
        self._options = options
        self._deadline = asyncio.get_running_loop().time() + options.call_seconds
        self._size = 0
        self._patience = options.call_seconds

    async def read(self) -> bytes:
        """More bytes; none at the end. Raises PassingError when the stream broke."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout_at(min(self._deadline, loop.time() + self._patience)):
                chunk: bytes = await self._response.content.readany()
        except TimeoutError:
            raise PassingError("the stream fell silent") from None
        except (aiohttp.ClientError, OSError) as error:
            raise PassingError(f"the stream broke off: {type(error).__name__}") from None
        self._patience = self._options.stall_seconds
        self._size += len(chunk)
        if self._size > self._options.answer_bytes:
            raise PassingError(f"the answer is larger than {self._options.answer_bytes} bytes")
        return chunk

    def close(self) -> None:
        """Let go of the connection; the endpoint stops generating."""
        self._response.close()


def _message(body: bytes) -> tuple[str, object]:
    """Message and code of an error answer, in OpenAI's shape or vLLM's older one."""
    try:
        answer = orjson.loads(body)
    except orjson.JSONDecodeError:
        answer = None
    error = answer.get("error", answer) if isinstance(answer, dict) else None
    if isinstance(error, dict):
        return str(error.get("message")), error.get("code")
    return body.decode(errors="replace"), None


def _seconds(text: str | None) -> float:
    """A Retry-After header in seconds; 0 for none and for a date."""
    try:
        return max(float(text or 0), 0.0)
    except ValueError:
        return 0.0
