"""A suite that does not fit the disk: batches that share layers, the next made ready meanwhile."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, TypeVar

from harness.environments.docker_images import image_name
from harness.environments.errors import ImageError
from harness.environments.inventory import docker_items
from harness.environments.prune import PruneReport, prune
from harness.environments.usage import using
from harness.records import Instance

ENVIRONMENT_BYTES = 350_000_000
INSTANCE_BYTES = 250_000_000
_Ready = TypeVar("_Ready")


@dataclass(frozen=True)
class Batch:
    """Instances whose images are on disk together; `bytes` is what they are estimated to take."""

    instances: tuple[Instance, ...]
    bytes: int


def plan_batches(
    instances: Sequence[Instance],
    budget_bytes: int,
    *,
    instance_bytes: int = INSTANCE_BYTES,
    environment_bytes: int = ENVIRONMENT_BYTES,
) -> list[Batch]:
    """Split instances, ordered by repository and version, into batches of half the budget each.

    Two batches are on disk at a time: one in use, one being made. An environment counts once a
    batch. Raises ImageError when not even two instances fit.
    """
    half = budget_bytes // 2
    if instances and half < instance_bytes + environment_bytes:
        raise ImageError(
            f"a disk budget of {budget_bytes / 1e9:.1f} GB does not hold two images with their "
            f"environments: give at least {2 * (instance_bytes + environment_bytes) / 1e9:.1f} GB"
        )
    batches: list[Batch] = []
    chosen: list[Instance] = []
    size = 0
    for instance in sorted(instances, key=lambda each: (each.repo, each.version, each.instance_id)):
        last = chosen[-1] if chosen else None
        same = last is not None and (last.repo, last.version) == (instance.repo, instance.version)
        more = instance_bytes + (0 if same else environment_bytes)
        if size + more > half:
            batches.append(Batch(tuple(chosen), size))
            chosen, size, more = [], 0, instance_bytes + environment_bytes
        chosen.append(instance)
        size += more
    return [*batches, Batch(tuple(chosen), size)] if chosen else batches


class Prefetcher(Generic[_Ready]):
    """Batches one after the other, each with what `prepare` made of it.

    While the caller works on a batch, whose Docker images nobody removes meanwhile, the next one
    is prepared in a thread. An error of `prepare` is raised where its batch would come.
    """

    def __init__(self, batches: Sequence[Batch], prepare: Callable[[Batch], _Ready]) -> None:
        self._batches = batches
        self._prepare = prepare

    def __iter__(self) -> Iterator[tuple[Batch, _Ready]]:
        with ThreadPoolExecutor(1, thread_name_prefix="prefetch") as pool:
            coming: Future[_Ready] | None = None
            try:
                for number, batch in enumerate(self._batches):
                    ready = (coming or pool.submit(self._prepare, batch)).result()
                    with using(image_name(instance) for instance in batch.instances):
                        following = self._batches[number + 1 : number + 2]
                        coming = pool.submit(self._prepare, following[0]) if following else None
                        yield batch, ready
            finally:
                pool.shutdown(wait=True, cancel_futures=True)


def make_room(batch: Batch, budget_bytes: int) -> PruneReport:
    """Remove Docker images, least recently used first, until a batch fits the budget, too.

    Images inside `using` stay. Raises ImageError when no engine answers.
    """
    return prune(docker_items, max(0, budget_bytes - batch.bytes))
