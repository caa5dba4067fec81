"""vLLM's OpenAI-compatible server: what is asked, and what may be wrong with the answer."""

import os
from collections.abc import Mapping
from typing import Any

import httpx
import orjson

from trainers.engine.errors import TeacherError
from trainers.teachers.http_client import HttpClient


class VllmClient:
    """Requests to one server, from any number of threads.

    endpoint: such as `http://127.0.0.1:8000`. api_key_env: the environment variable that holds the
    key. options: of `HttpClient`.
    """

    def __init__(self, endpoint: str, *, api_key_env: str | None = None, **options: Any) -> None:
        self.endpoint = endpoint.rstrip("/").removesuffix("/v1")
        self._http = HttpClient(
            self.endpoint, headers=authorization(api_key_env, "teacher"), **options
        )

    def served(self) -> dict[str, dict[str, Any]]:
        """The models and adapters that are served, by name, as `/v1/models` describes them."""
        answer = self._object("/v1/models", self._http.ask("GET", "/v1/models"))
        try:
            return {one["id"]: one for one in answer["data"]}
        except (KeyError, TypeError):
            raise TeacherError(
                f"{self.endpoint}/v1/models: no list of models: no OpenAI-compatible server"
            ) from None

    def tokenize(self, model: str, text: str) -> list[int] | None:
        """Ids of a text without special tokens; none where the server has no `/tokenize`."""
        body = {"model": model, "prompt": text, "add_special_tokens": False}
        answer = self._http.ask("POST", "/tokenize", orjson.dumps(body))
        if answer.status_code in (httpx.codes.NOT_FOUND, httpx.codes.METHOD_NOT_ALLOWED):
            return None
        found = self._object("/tokenize", answer).get("tokens")
        return found if isinstance(found, list) else None

    def complete(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """The answer of `/v1/completions`. Raises TeacherError when there is none."""
        path = "/v1/completions"
        return self._object(path, self._http.ask("POST", path, orjson.dumps(body)))

    def _object(self, path: str, answer: httpx.Response) -> dict[str, Any]:
        if answer.status_code != httpx.codes.OK:
            raise self._http.refused(path, answer)
        try:
            found = orjson.loads(answer.content)
        except orjson.JSONDecodeError:
            found = None
        if not isinstance(found, dict):
            raise TeacherError(f"teacher {self.endpoint}{path}: the answer is no JSON object")
        return found


def authorization(variable: str | None, key: str) -> dict[str, str]:
    """The header with the key in an environment variable; `key`: of the settings, for messages."""
    if variable is None:
        return {}
    secret = os.environ.get(variable)
    if not secret:
        raise TeacherError(f"{key}.api_key_env: the environment has no variable {variable}")
    return {"Authorization": f"Bearer {secret}"}
