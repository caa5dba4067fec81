"""The mini-swe-agent library as an agent, on our sandbox and our model endpoint."""

import logging
import os
import tempfile
import threading
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Literal

import yaml
from pydantic import Field

from harness.agents.base import Agent, Emit, Endpoint
from harness.records import Budget, Instance, Outcome, Record, StopReason
from harness.sandboxes.base import Sandbox

SHORT_CONTEXT = 16384  # tokens; models with no more get the short prompt
_COMMAND_ENV = {
    "PAGER": "cat",
    "MANPAGER": "cat",
    "LESS": "-R",
    "PIP_PROGRESS_BAR": "off",
    "TQDM_DISABLE": "1",
    "BASH_ENV": "/root/.bashrc",  # official images activate their environment there
}

_importing = threading.Lock()


class Prompts(Record):
    """One variant of `prompts/mini.yaml`.

    Without an `action_regex` the model calls a tool. `stop` ends an answer after its action.
    Longer issues and outputs lose their middle.
    """

    system: str
    instance: str
    observation: str
    format_error: str
    observation_characters: int
    task_characters: int | None = None
    action_regex: str | None = None
    stop: str | None = None


class MiniOptions(Record):
    """Options of the mini agent."""

    prompt: Literal["auto", "standard", "short", "tools"] = Field(
        "auto", description="auto: short for a context of up to 16K tokens, else standard."
    )
    command_seconds: float = Field(60.0, gt=0, description="Time limit of one command.")
    format_errors: int = Field(3, ge=1, description="Unusable answers in a row before giving up.")
    env: dict[str, str] = Field(_COMMAND_ENV, description="Environment of commands.")


class MiniAgent(Agent):
    """One shell command a turn (or tool calls), until it submits or a budget is used up.

    Whatever ends the attempt, its patch is the work tree's difference from the base commit.
    """

    needs_sandbox = True

    def __init__(self, options: MiniOptions) -> None:
        self._options = options

    def run(
        self,
        instance: Instance,
        *,
        sandbox: Sandbox | None,
        endpoint: Endpoint | None,
        budget: Budget,
        seed: int,
        emit: Emit,
        logs: Path,
    ) -> Outcome:
        """See `Agent.run`. Raises ValueError without a sandbox or an endpoint."""
        if sandbox is None or endpoint is None:
            raise ValueError("the mini agent needs a sandbox and a model endpoint")
        _import_library()
        from harness.agents.mini_rollout import roll_out

        outcome = roll_out(
            instance.problem_statement,
            sandbox=sandbox,
            endpoint=endpoint,
            budget=budget,
            emit=emit,
            options=self._options,
        )
        try:
            patch = sandbox.diff(instance.base_commit)
        except ValueError as error:
            return outcome.model_copy(
                update={
                    "stop_reason": StopReason.AGENT_ERROR,
                    "detail": f"the agent made the repository unreadable: {error}",
                }
            )
        return outcome.model_copy(update={"patch": patch})


def load_prompts(variant: str) -> Prompts:
    """A variant of the shipped prompts."""
    text = (files("harness.agents") / "prompts" / "mini.yaml").read_text(encoding="utf-8")
    return Prompts.model_validate(yaml.safe_load(text)[variant])


@cache
def _import_library() -> None:
    """Import minisweagent without its banner, its settings file and its log handler."""
    settings = {"MSWEA_SILENT_STARTUP": "1"}
    with _importing, tempfile.TemporaryDirectory() as folder:
        settings["MSWEA_GLOBAL_CONFIG_DIR"] = folder
        before = {name: os.environ.get(name) for name in settings}
        os.environ.update(settings)
        try:
            import minisweagent  # noqa: F401
        finally:
            for name, value in before.items():
                if value is None:
                    del os.environ[name]
                else:
                    os.environ[name] = value
    logging.getLogger("minisweagent").handlers.clear()
