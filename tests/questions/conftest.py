"""A model that answers from a table, and runs of `harness ask` on it."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.rollouts.ask import AskRequest, run_ask
from tests.agents.scripted_endpoint import ScriptedEndpoint, scripted

Asks = Callable[..., dict[str, Any]]


class Table(ScriptedEndpoint):
    """Answers a prompt by the first of its keys that is in it; counts the requests."""

    answers: dict[str, str]

    @staticmethod
    def of(served: ScriptedEndpoint, answers: dict[str, str]) -> None:
        """Let a scripted endpoint answer from a table."""

        def answer(request: dict[str, Any]) -> tuple[int, dict[str, str], Any]:
            served.requests.append(request)
            prompt = request["messages"][0]["content"]
            said = next((text for key, text in answers.items() if key in prompt), "I do not know.")
            message = {"role": "assistant", "content": said}
            choice = {"index": 0, "finish_reason": "stop", "message": message}
            usage = {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110}
            return 200, {}, {"object": "chat.completion", "choices": [choice], "usage": usage}

        served.answer = answer  # type: ignore[method-assign]


@pytest.fixture
def served() -> Iterator[ScriptedEndpoint]:
    with scripted("unused") as endpoint:
        yield endpoint


@pytest.fixture
def asks(served: ScriptedEndpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Asks:
    """Runs `harness ask` with a table of answers in place of a model."""
    monkeypatch.setenv("HARNESS_BASE_URL", served.base_url)
    monkeypatch.delenv("HARNESS_MODEL", raising=False)

    def ask(suite: str, answers: dict[str, str], **options: Any) -> dict[str, Any]:
        Table.of(served, answers)
        given: dict[str, Any] = {"profile": "docker", "seeds": (0,), "run_id": "run"} | options
        request = AskRequest(suite=suite, runs=tmp_path, command="harness ask", **given)
        return run_ask(request, dry_run=False)

    return ask
