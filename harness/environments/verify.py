"""Rebuild images from their recipes, beside the present ones, and compare them with the lock."""

import hashlib
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal
from uuid import uuid4

from harness.environments.contents import Contents
from harness.environments.docker_images import build_images
from harness.environments.engine import all_images, connect
from harness.environments.errors import ImageError
from harness.environments.known_recipes import known_recipes
from harness.environments.lock import COMPARED, Kind, Lock, LockRow
from harness.environments.pin import Difference, compare, pin
from harness.environments.process_images import build_process_image
from harness.environments.recipe import RecipeError, recipe_for
from harness.records import Instance, Record
from harness.records.cache import cache_root
from harness.sandboxes.base import ImageMissingError

_PREFIX = "swe-harness-verify"

Progress = Callable[[str], None]


class Verified(Record):
    """How the image of one instance compares with its row."""

    instance_id: str
    status: Literal["same", "differs", "missing", "failed"]
    difference: Difference | None = None
    error: str = ""
    seconds: float = 0.0


def sample(instances: Sequence[Instance], size: int) -> list[Instance]:
    """As many instances, of as many environments as possible; the same ones every time."""
    by_environment: dict[tuple[str, str], list[Instance]] = {}
    for instance in sorted(instances, key=lambda each: each.instance_id):
        by_environment.setdefault((instance.repo, instance.version), []).append(instance)
    chosen: list[Instance] = []
    while len(chosen) < min(size, len(instances)):
        chosen += [group.pop(0) for group in by_environment.values() if group]
    return chosen[:size]


def verify(
    instances: Sequence[Instance],
    kind: Kind,
    lock: Lock,
    *,
    present: Mapping[str, str],
    repos: Path | None = None,
    anew: bool = True,
    on_progress: Progress,
) -> Iterator[Verified]:
    """Compare the images of instances with their rows, built `anew` or as they are.

    What is built has names of its own, environments included, and is removed at the end; images
    that are here (`present`, by instance id) are not touched. Where the one that is here is as
    locked, the files that differ are named. Raises ImageError when no engine answers.
    """
    with _workshop(kind, repos, on_progress) as build:
        for instance in instances:
            began = time.monotonic()
            image = present.get(instance.instance_id, "")
            row = lock.rows.get(instance.instance_id)
            status, difference, error = "missing", None, ""
            try:
                if row is None:
                    error = "the lock has no row for it"
                elif not anew and not image:
                    error = "there is no image here; build it with: harness env build"
                else:
                    found = pin(instance, build(instance) if anew else image, kind)
                    reference = _reference(instance, row, image, kind) if anew else None
                    difference = compare(row, lock, *found, reference)
                    status = "differs" if difference else "same"
            except ImageMissingError as problem:
                error = str(problem)
            except (ImageError, RecipeError) as problem:
                status, error = "failed", str(problem)
            yield Verified(
                instance_id=instance.instance_id,
                status=status,
                difference=difference,
                error=error,
                seconds=time.monotonic() - began,
            )


def _reference(instance: Instance, row: LockRow, image: str, kind: Kind) -> Contents | None:
    """What the image at hand holds, if that is what its row says."""
    if not image:
        return None
    found, contents = pin(instance, image, kind)
    return contents if all(getattr(found, n) == getattr(row, n) for n in COMPARED) else None


@contextmanager
def _workshop(
    kind: Kind, repos: Path | None, on_progress: Progress
) -> Iterator[Callable[[Instance], str]]:
    """Builds images under names that nobody else has, and removes them at the end."""
    recipes = known_recipes()
    token = uuid4().hex[:12]
    if kind == "process":
        cache_root().mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache_root(), prefix=".verify-") as name:
            cache = Path(name)
            (cache_root() / "sdists").mkdir(exist_ok=True)
            (cache / "sdists").symlink_to(cache_root() / "sdists")
            yield lambda instance: str(
                build_process_image(instance, recipe_for(instance, recipes), cache, on_progress)
            )
        return
    prefix = f"{_PREFIX}.{token}/"

    def build(instance: Instance) -> str:
        own = hashlib.sha256(instance.instance_id.encode()).hexdigest()[:12]
        (built,) = build_images(
            [instance.model_copy(update={"image": f"{prefix}instance:{own}"})],
            recipes=recipes,
            repos=repos,
            cache=cache_root(),
            environments=prefix,
            on_progress=on_progress,
        )
        if built.status != "built":
            raise ImageError(built.error or f"{built.image} is there already")
        return built.image

    try:
        yield build
    finally:
        remove_images(prefix)


def remove_images(prefix: str) -> None:
    """Remove the engine's images whose names start like that, and no layer that others have."""
    client = connect()
    for image in all_images(client):
        for tag in image.tags:
            if tag.startswith(prefix):
                client.images.remove(tag)
