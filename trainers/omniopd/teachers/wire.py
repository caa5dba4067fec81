"""Requests to an OpenAI-compatible endpoint, and what may be wrong with its answers."""

import re
import time
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import httpx
import orjson

from trainers.engine.errors import ConfigError, TeacherError
from trainers.omniopd.settings import EndpointSettings
from trainers.teachers.http_client import HttpClient
from trainers.teachers.vllm_client import authorization

Json = dict[str, Any]

_BYTES = 2**20  # of an answer without its texts
_BYTES_PER_TOKEN = 2**10
_LIST_BYTES = 2**24
_FILTERED = ("content_filter", "content_policy_violation", "ResponsibleAIPolicyViolation")


class RefusedError(TeacherError):
    """The endpoint says that a request is wrong. says: the parameter that it names, else its words.

    filtered: it is about what the texts are about.
    """

    def __init__(self, message: str, says: str, *, filtered: bool) -> None:
        super().__init__(message)
        self.says = says
        self.filtered = filtered


class Reply(NamedTuple):
    """An answer. prompt, generated: tokens, where it says; model: its name of itself."""

    texts: tuple[str, ...]
    prompt: int | None
    generated: int | None
    cached: int | None
    model: str
    seconds: float


class Wire:
    """One endpoint, for any number of threads. pause_s: before a request is made once more."""

    def __init__(self, settings: EndpointSettings, *, pause_s: float = 1) -> None:
        _check_address(settings.endpoint)
        headers = authorization(settings.api_key_env, "text_teacher")
        self._key = headers.get("Authorization", "").removeprefix("Bearer ")
        local = settings.endpoint.startswith("unix:")
        self._root = "/v1" if local else ""
        self._http = HttpClient(
            settings.endpoint.rstrip("/"),
            headers=headers,
            timeout_s=settings.timeout_s,
            attempts=settings.attempts,
            pause_s=pause_s,
            connections=settings.concurrency,
        )

    def served(self, model: str) -> Json:
        """How the endpoint's list describes a model; nothing where it has no such list."""
        answer = self._ask("GET", f"{self._root}/models", None, _LIST_BYTES)
        if answer.status_code in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
            raise self._clean(self._http.refused(f"{self._root}/models", answer))
        found = _parsed(answer.content).get("data")
        cards = found if isinstance(found, list) else []
        named = [one for one in cards if isinstance(one, dict) and one.get("id") == model]
        return named[0] if named else {}

    def chat(self, body: Mapping[str, Any]) -> Reply:
        """The answer of `/chat/completions`. Raises RefusedError, and TeacherError for others."""
        return self._post("/chat/completions", body)

    def complete(self, body: Mapping[str, Any]) -> Reply:
        """The answer of `/completions`. Raises as `chat` does."""
        return self._post("/completions", body)

    def _post(self, path: str, body: Mapping[str, Any]) -> Reply:
        path = self._root + path
        limit = body.get("max_tokens") or body.get("max_completion_tokens") or 0
        most = _BYTES + _BYTES_PER_TOKEN * limit * body.get("n", 1)
        began = time.monotonic()
        answer = self._ask("POST", path, orjson.dumps(body), most)
        seconds = time.monotonic() - began
        if answer.status_code != httpx.codes.OK:
            raise self._refusal(path, answer)
        found = _parsed(answer.content)
        try:
            texts = tuple(_text(choice) for choice in _in_order(found["choices"]))
        except (KeyError, TypeError, AttributeError, ValueError):
            texts = ()
        if not texts:
            beginning = " ".join(answer.text.split())[:200]
            raise TeacherError(
                self._hidden(
                    f"teacher {self._http.endpoint}{path}: the answer has no choices with text: "
                    f"{beginning!r}"
                )
            )
        usage = found.get("usage")
        usage = usage if isinstance(usage, dict) else {}
        details = usage.get("prompt_tokens_details")
        cached = details.get("cached_tokens") if isinstance(details, dict) else None
        model = found.get("model")
        return Reply(
            texts,
            _natural(usage.get("prompt_tokens")),
            _natural(usage.get("completion_tokens")),
            _natural(cached),
            self._hidden(model[:200]) if isinstance(model, str) else "",
            seconds,
        )

    def _refusal(self, path: str, answer: httpx.Response) -> TeacherError:
        error = self._clean(self._http.refused(path, answer))
        wrong = (httpx.codes.BAD_REQUEST, httpx.codes.UNPROCESSABLE_ENTITY)
        if answer.status_code not in wrong:
            if answer.status_code in (httpx.codes.NOT_FOUND, httpx.codes.METHOD_NOT_ALLOWED):
                return TeacherError(
                    f"{error}; does text_teacher.endpoint end in /v1 (or begin with unix:), is "
                    "text_teacher.model one that it serves, and does it take text_teacher.prompt?"
                )
            return error
        body = _parsed(answer.content)
        said = body.get("error", body)
        said = said if isinstance(said, dict) else {}
        code = str(said.get("code"))
        text = str(error).rpartition(f"status {answer.status_code}:")[2]
        filtered = code in _FILTERED
        return RefusedError(str(error), str(said.get("param") or text), filtered=filtered)

    def _ask(self, method: str, path: str, content: bytes | None, most: int) -> httpx.Response:
        try:
            return self._http.ask(method, path, content, most_bytes=most)
        except TeacherError as error:
            raise self._clean(error) from None

    def _clean(self, error: TeacherError) -> TeacherError:
        return TeacherError(self._hidden(str(error)))

    def _hidden(self, text: str) -> str:
        return text.replace(self._key, "[key]") if self._key else text


def named(says: str, parameters: Iterable[str]) -> str | None:
    """The one of some parameters that an endpoint's words name first."""
    any_of = "|".join(map(re.escape, parameters))
    found = re.search(rf"(?<![\w'’])({any_of})(?!\w)|'({any_of})'", says) if any_of else None
    return found and (found[1] or found[2])


def _check_address(endpoint: str) -> None:
    parts = urlsplit(endpoint)
    if endpoint.startswith("unix:"):
        return
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigError("text_teacher.endpoint: give http(s)://HOST:PORT/v1, or unix:PATH")
    if parts.username or parts.password or parts.query:
        raise ConfigError(
            "text_teacher.endpoint: an address with a password or a query would be written down; "
            "give a key by api_key_env"
        )


def _parsed(content: bytes) -> Json:
    try:
        found = orjson.loads(content)
    except orjson.JSONDecodeError:
        return {}
    return found if isinstance(found, dict) else {}


def _in_order(choices: Any) -> list[Json]:
    return sorted(choices, key=lambda choice: int(choice.get("index", 0)))


def _text(choice: Json) -> str:
    """What was written; nothing where the model refused, or was stopped by a filter."""
    found = choice["message"].get("content") if "message" in choice else choice["text"]
    if isinstance(found, list):
        found = "".join(part.get("text", "") for part in found)
    if found is None:
        return ""
    if not isinstance(found, str):
        raise TypeError("a text was expected")
    return found


def _natural(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
