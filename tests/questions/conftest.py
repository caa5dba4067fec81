"""A model that answers from a table, and runs of `harness ask` on it."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from harness.rollouts.ask import AskRequest, run_ask
from tests.agents.scripted_endpoint import ScriptedEndpoint, scripted

Asks = Callable[..., dict[str, Any]]


Answers = Mapping[str, str | tuple[str, str]]


def answer_from(served: ScriptedEndpoint, answers: Answers) -> None:
    """Let an endpoint answer a prompt by the first key that is in it: with a text, or a text and
    why it ended. Token ids are bytes."""

    def answer(request: dict[str, Any]) -> tuple[int, dict[str, str], Any]:
        served.requests.append(request)
        prompt = request["messages"][0]["content"]
        found = next((one for key, one in answers.items() if key in prompt), "I do not know.")
        said, finish = (found, "stop") if isinstance(found, str) else found
        ids = list(said.encode())
        choice = {
            "index": 0,
            "finish_reason": finish,
            "message": {"role": "assistant", "content": said},
            "token_ids": ids,
            "logprobs": {"content": [{"token": "", "logprob": -0.5} for _ in ids]},
        }
        count = {"prompt_tokens": len(prompt.encode()), "completion_tokens": len(ids)}
        usage = count | {"total_tokens": sum(count.values())}
        body = {"object": "chat.completion", "choices": [choice], "usage": usage}
        return 200, {}, body | {"prompt_token_ids": list(prompt.encode())}

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

    def ask(suite: str, answers: Answers, **options: Any) -> dict[str, Any]:
        answer_from(served, answers)
        given: dict[str, Any] = {"profile": "docker", "seeds": (0,), "run_id": "run"} | options
        request = AskRequest(suite=suite, runs=tmp_path, command="harness ask", **given)
        return run_ask(request, dry_run=False)

    return ask
