"""The model of a run: a server started for it, or an endpoint that is there."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from pydantic import SecretStr, ValidationError

from harness.agents.base import Decoding, Endpoint
from harness.agents.embedded import ModelFacts, embedded_endpoint
from harness.agents.rehearsal import MAX_MODEL_LEN, MODEL, rehearsal_endpoint
from harness.config import ConfigError, ModelConfig, Replay
from harness.records import Instance
from harness.rollouts.adapters import load_adapter

DEFAULT_EMBEDDED = "smollm2-135m"
SMALL_MODEL_NOTE = (
    "A model of 135 million parameters cannot act as a coding agent: it shows that the pipeline "
    "runs, not what agents can do. The methods gold and noop mark both ends of the scale."
)
REHEARSAL_NOTE = (
    "No model took part: a script played each instance's gold patch through the agent's tools. "
    "This shows that agent, gateway, sandbox and grading work together, and nothing else."
)


@dataclass(frozen=True)
class ServedModel:
    """An endpoint that answers, facts about its model for the lock, notes for the report."""

    endpoint: Endpoint
    facts: dict[str, Any]
    notes: tuple[str, ...] = ()


def recorded_model(replay: Replay, decoding: Decoding) -> ServedModel:
    """The model of a replay that asks none: its endpoint answers nothing."""
    name = str(replay.card["id"])
    endpoint = Endpoint(base_url="http://127.0.0.1:9/v1", model=name, decoding=decoding)
    return ServedModel(endpoint, {"name": name, "kind": "recorded"})


@contextmanager
def serve_model(
    model: ModelConfig, decoding: Decoding, folder: Path, instances: Sequence[Instance]
) -> Iterator[ServedModel]:
    """The model's endpoint while the block runs. Server logs go to `folder`.

    Raises ConfigError when an endpoint is not configured or does not answer.
    """
    if model.kind == "embedded":
        name = model.name or DEFAULT_EMBEDDED
        log = folder / "model.log"
        with embedded_endpoint(name, log=log, adapter=model.adapter) as (endpoint, facts):
            yield _with_facts(endpoint.model_copy(update={"decoding": decoding}), facts)
        return
    if model.kind == "rehearsal":
        with rehearsal_endpoint(instances) as endpoint:
            played = endpoint.model_copy(update={"decoding": decoding})
            yield ServedModel(
                played,
                {"name": MODEL, "kind": "rehearsal", "max_model_len": MAX_MODEL_LEN},
                (REHEARSAL_NOTE,),
            )
        return
    base_url = model.base_url or os.environ.get("HARNESS_BASE_URL")
    if not base_url:
        raise ConfigError(
            "no model endpoint: set HARNESS_BASE_URL (and HARNESS_MODEL, HARNESS_API_KEY), "
            "or use --profile embedded"
        )
    key = os.environ.get("HARNESS_API_KEY")
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    cards = _served(base_url, headers)
    name = model.name or os.environ.get("HARNESS_MODEL") or next(iter(cards))
    if name not in cards:
        raise ConfigError(f"{base_url} serves {', '.join(cards)}, not {name!r}")
    told: dict[str, Any] = {"name": name, "kind": "endpoint"}
    length = cards[name].get("max_model_len")
    if isinstance(length, int):
        told |= {"max_model_len": length}
    asked_for = name
    if model.adapter is not None:
        loaded = load_adapter(base_url, headers, name, model.adapter, cards)
        told |= {"adapter_sha256": loaded.sha256}
        asked_for = loaded.name
    endpoint = Endpoint(
        base_url=base_url,
        model=asked_for,
        api_key=SecretStr(key) if key else None,
        decoding=decoding,
    )
    try:
        found = _with_facts(endpoint, ModelFacts.model_validate(cards[name].get("facts")))
    except ValidationError:  # our own server alone tells them
        found = ServedModel(endpoint, told)
    yield found


def _with_facts(endpoint: Endpoint, facts: ModelFacts) -> ServedModel:
    notes = [f"Licence of {facts.name}: {facts.licence}. {facts.note}."]
    if facts.name == DEFAULT_EMBEDDED:
        notes.append(SMALL_MODEL_NOTE)
    return ServedModel(endpoint, facts.model_dump(mode="json"), tuple(notes))


def _served(base_url: str, headers: dict[str, str]) -> dict[str, dict[str, Any]]:
    """The models' cards by id."""
    url = f"{base_url.rstrip('/')}/models"
    try:
        answer = httpx.get(url, headers=headers, timeout=20).raise_for_status().json()
        cards = {str(entry["id"]): dict(entry) for entry in answer["data"]}
    except (httpx.HTTPError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"{url} does not answer as an OpenAI-compatible server: {error}; "
            "start one (vllm serve …) or use --profile embedded"
        ) from None
    if not cards:
        raise ConfigError(f"{url} serves no model")
    return cards
