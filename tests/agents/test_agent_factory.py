"""Agents by name."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from harness.agents import AgentConfigError, agent_kinds, make_agent
from harness.agents.base import Endpoint
from harness.agents.mini import MiniAgent
from harness.records import Budget


def test_options_reach_the_agent() -> None:
    agent = make_agent("mini", {"prompt": "short", "command_seconds": 5})
    assert isinstance(agent, MiniAgent)
    assert agent._options.command_seconds == 5


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        ("mimi", {}, "did you mean 'mini'?"),
        ("codex", {}, "known: gold, noop, replay, mini, repair, openhands"),
        ("mini", {"promt": "short"}, "no option 'promt'.*did you mean 'prompt'?"),
        ("mini", {"prompt": "long"}, "option 'prompt': .*found 'long'"),
        ("mini", {"command_seconds": 0}, "option 'command_seconds': .*greater than 0"),
        ("gold", {"x": 1}, r"no option 'x' \(it has none\)"),
        ("replay", {}, "option 'predictions' is missing"),
    ],
)
def test_mistakes_are_explained(kind: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(AgentConfigError, match=message):
        make_agent(kind, options)


def test_only_the_wanted_kind_is_imported(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom harness.agents import make_agent\n"
        "make_agent('gold', {})\n"
        "print([m for m in ('minisweagent', 'httpx', 'harness.agents.mini') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_mini_needs_a_sandbox_and_an_endpoint(repository: Any) -> None:
    with pytest.raises(ValueError, match="needs a sandbox and a model endpoint"):
        make_agent("mini", {}).run(
            repository.instance,
            sandbox=None,
            endpoint=Endpoint(base_url="http://127.0.0.1:9/v1", model="m"),
            budget=Budget(),
            seed=0,
            emit=lambda _: None,
            logs=repository.logs,
        )


def test_kinds() -> None:
    assert agent_kinds() == ("gold", "noop", "replay", "mini", "repair", "openhands", "answer")
