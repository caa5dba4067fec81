"""Batches fit the budget and share layers; the next one is prepared while one is in use."""

import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.environments.batches import Batch, Prefetcher, plan_batches
from harness.environments.docker_images import image_name
from harness.environments.errors import ImageError
from harness.environments.usage import in_use
from harness.records import Instance
from tests.conftest import make_instance


def instances(count: int) -> list[Instance]:
    return [
        make_instance(
            instance_id=f"owner__r{number % 3}-{number}",
            repo=f"owner/r{number % 3}",
            version=str(number % 2),
            image=f"r{number}:latest",
        )
        for number in range(count)
    ]


@given(st.integers(0, 40), st.integers(20, 200))
def test_every_instance_is_in_one_batch_that_fits(count: int, budget: int) -> None:
    batches = plan_batches(instances(count), budget, instance_bytes=3, environment_bytes=7)
    chosen = [each.instance_id for batch in batches for each in batch.instances]
    assert sorted(chosen) == sorted(each.instance_id for each in instances(count))
    for batch in batches:
        environments = {(each.repo, each.version) for each in batch.instances}
        assert batch.bytes == 3 * len(batch.instances) + 7 * len(environments)
        assert 0 < batch.bytes <= budget // 2


def test_batches_keep_an_environment_together() -> None:
    batches = plan_batches(instances(12), 10**9, instance_bytes=3, environment_bytes=7)
    places = [(each.repo, each.version) for each in batches[0].instances]
    assert places == sorted(places)


def test_too_small_a_budget_says_how_much_is_needed() -> None:
    with pytest.raises(ImageError, match=r"give at least 1\.2 GB"):
        plan_batches(instances(2), 10**9)


@pytest.fixture
def batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Batch]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return [Batch((instance,), 1) for instance in instances(3)]


def test_the_next_batch_is_prepared_meanwhile(batches: list[Batch]) -> None:
    prepared = [threading.Event() for _ in batches]

    def prepare(batch: Batch) -> str:
        prepared[batches.index(batch)].set()
        return batch.instances[0].instance_id

    seen = []
    for batch, ready in Prefetcher(batches, prepare):
        number = batches.index(batch)
        assert all(event.wait(10) for event in prepared[: number + 2])
        assert not any(event.is_set() for event in prepared[number + 2 :])
        assert in_use() == {image_name(batch.instances[0])}
        seen.append(ready)
    assert seen == [batch.instances[0].instance_id for batch in batches]
    assert in_use() == frozenset()


def test_an_error_comes_with_its_batch(batches: list[Batch]) -> None:
    def prepare(batch: Batch) -> int:
        if batch is batches[1]:
            raise ImageError("no room")
        return 1

    coming = iter(Prefetcher(batches, prepare))
    next(coming)
    with pytest.raises(ImageError, match="no room"):
        next(coming)
    assert in_use() == frozenset()


def test_stopping_early_waits_for_the_thread(batches: list[Batch]) -> None:
    for _ in Prefetcher(batches, lambda batch: None):
        break
    assert in_use() == frozenset()
    assert not [each for each in threading.enumerate() if each.name.startswith("prefetch")]
