"""Images for a run that does not fit the disk: made ready batch by batch, removed when unused."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from harness.environments.batches import Batch, Prefetcher, make_room, plan_batches
from harness.environments.images import Images, build_all, find_images
from harness.records import Instance
from harness.sandboxes.base import SandboxProvider

Supply = Iterator[tuple[tuple[Instance, ...], Images]]


def supply_images(
    instances: Sequence[Instance],
    provider: SandboxProvider,
    *,
    budget_bytes: int,
    mirrors: Path | None,
    check: Callable[[tuple[Instance, ...], Images], object],
    on_progress: Callable[[str], None],
) -> Supply:
    """Instances, ordered by repository, with their Docker images; the next ones are made meanwhile.

    `check` may refuse a batch's images by an error. Instances without an image are in
    `Images.problems`. Raises ImageError when the budget is too small.
    """

    def prepare(batch: Batch) -> Images:
        make_room(batch, budget_bytes)
        build_all(
            batch.instances, kind="docker", repos=mirrors, force=False, on_progress=on_progress
        )
        images = find_images(batch.instances, provider, on_progress)
        check(batch.instances, images)
        return images

    for batch, images in Prefetcher(plan_batches(instances, budget_bytes), prepare):
        yield batch.instances, images
