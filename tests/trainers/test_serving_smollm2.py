"""The shipped model itself, end to end: fetched, served, and working as an agent's model."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import httpx
import pytest

from harness.agents import make_agent
from harness.agents.base import Decoding, EndpointFailure
from harness.agents.embedded import EmbeddedModel, embedded_endpoint
from harness.gateway import Gateway
from harness.records import Budget, Event, Outcome, StopReason
from tests.agents.repository import Repository, make_repository
from trainers.serving.shipped import shipped_manifests

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def smollm2(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedModel]:
    log = tmp_path_factory.mktemp("log") / "model.log"
    with ExitStack() as stack:
        try:
            model = stack.enter_context(embedded_endpoint("smollm2-135m", log=log))
        except EndpointFailure as failure:
            if "could not download" in str(failure):
                pytest.skip("the model is not in the cache and cannot be downloaded")
            raise
        yield model


def test_it_is_the_model_of_the_manifest(smollm2: EmbeddedModel) -> None:
    manifest = shipped_manifests()["smollm2-135m"]
    assert smollm2.facts.artefact_sha256 == manifest.file_sha256
    assert smollm2.facts.licence == "Apache-2.0"
    assert smollm2.facts.max_model_len == 8192


def test_it_knows_something(smollm2: EmbeddedModel) -> None:
    body = {"prompt": "The capital of France is", "max_tokens": 1, "temperature": 0}
    answer = httpx.post(f"{smollm2.endpoint.base_url}/completions", json=body, timeout=120)
    assert answer.json()["choices"][0]["text"] == " Paris"


def test_company_and_cache_change_nothing(smollm2: EmbeddedModel) -> None:
    def ask(number: int) -> Any:
        text = f"Question {number}: how do I sort a list of {number} words in Python? " * 12
        body = {"prompt": text, "max_tokens": 16, "seed": number, "temperature": 0.7}
        body |= {"top_p": 0.95, "logprobs": 1, "return_token_ids": True}
        url = f"{smollm2.endpoint.base_url}/completions"
        return httpx.post(url, json=body, timeout=300).json()["choices"]

    alone = [ask(number) for number in range(3)]
    with ThreadPoolExecutor(3) as threads:
        assert list(threads.map(ask, range(3))) == alone


def test_attempts_of_an_agent(
    smollm2: EmbeddedModel, tmp_path_factory: pytest.TempPathFactory
) -> None:
    repository = make_repository(tmp_path_factory.mktemp("repository"))
    first, second = (_attempt(smollm2, repository) for _ in range(2))
    outcome, events = first
    assert outcome.stop_reason in set(StopReason) - {StopReason.INFRASTRUCTURE}
    assert 1 <= outcome.usage.turns <= 3
    assert outcome.usage.generated_tokens > 0
    assert [event.kind for event in events][:3] == ["system", "user", "assistant"]
    assert outcome == second[0]
    assert [event.text for event in events] == [event.text for event in second[1]]


def _attempt(smollm2: EmbeddedModel, repository: Repository) -> tuple[Outcome, list[Event]]:
    events: list[Event] = []
    budget = Budget(turns=3)
    calls = repository.logs / "calls.parquet"
    served = smollm2.endpoint.model_copy(update={"decoding": Decoding(max_tokens=64)})
    with (
        repository.sandbox() as sandbox,
        Gateway(served) as gateway,
        gateway.open(budget=budget, seed=1, calls=calls) as door,
    ):
        outcome = make_agent("mini", {}).run(
            repository.instance,
            sandbox=sandbox,
            endpoint=door.endpoint,
            budget=budget,
            seed=1,
            emit=events.append,
            logs=repository.logs,
        )
    return outcome, events
