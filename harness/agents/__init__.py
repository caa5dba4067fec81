"""Coding agents behind one contract (`base.Agent`), made by name."""

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from pydantic import ValidationError

from harness.agents.base import Agent
from harness.suites.errors import did_you_mean

_KINDS = {
    "gold": ("harness.agents.gold", "GoldAgent", "GoldOptions"),
    "noop": ("harness.agents.noop", "NoopAgent", "NoopOptions"),
    "replay": ("harness.agents.replay", "ReplayAgent", "ReplayOptions"),
    "mini": ("harness.agents.mini", "MiniAgent", "MiniOptions"),
    "repair": ("harness.agents.repair", "RepairAgent", "RepairOptions"),
    "openhands": ("harness.agents.openhands", "OpenHandsAgent", "OpenHandsOptions"),
    "answer": ("harness.agents.answer", "AnswerAgent", "AnswerOptions"),
}


class AgentConfigError(ValueError):
    """An agent's kind or one of its options is not usable; the text says what would be."""


def agent_kinds() -> tuple[str, ...]:
    """The kinds that `make_agent` knows."""
    return tuple(_KINDS)


def make_agent(kind: str, options: Mapping[str, object]) -> Agent:
    """An agent of a kind; only that kind's module is imported.

    Raises AgentConfigError for an unknown kind, an unknown option or a wrong value.
    """
    if kind not in _KINDS:
        raise AgentConfigError(
            f"no agent kind {kind!r} (known: {', '.join(_KINDS)}){did_you_mean(kind, _KINDS)}"
        )
    module_name, agent_name, options_name = _KINDS[kind]
    module = import_module(module_name)
    options_type = getattr(module, options_name)
    try:
        parsed = options_type.model_validate(dict(options))
    except ValidationError as error:
        raise AgentConfigError(f"agent {kind}: {_problem(error, options_type)}") from None
    agent: Agent = getattr(module, agent_name)(parsed)
    return agent


def _problem(error: ValidationError, options_type: Any) -> str:
    first = error.errors()[0]
    name = ".".join(map(str, first["loc"]))
    known = list(options_type.model_fields)
    if first["type"] == "extra_forbidden":
        listed = f"known: {', '.join(known)}" if known else "it has none"
        return f"no option {name!r} ({listed}){did_you_mean(name, known)}"
    if first["type"] == "missing":
        return f"option {name!r} is missing"
    return f"option {name!r}: {first['msg']} (found {first['input']!r:.80})"
