"""Which image each instance runs in, on one kind of sandbox."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from harness.environments.docker_images import BuildResult, build_images, image_name
from harness.environments.engine import connect, find_image
from harness.environments.errors import ImageError
from harness.environments.known_recipes import known_recipes
from harness.environments.lock import load_locks
from harness.environments.process_images import build_process_image, image_folder
from harness.environments.pull import Puller
from harness.environments.recipe import RecipeError, recipe_for
from harness.records import Instance
from harness.records.cache import cache_root
from harness.sandboxes.base import ImageMissingError, SandboxProvider
from harness.sandboxes.process import ProcessImage
from harness.suites.manifests import manifests_root

Progress = Callable[[str], None]


@dataclass
class Images:
    """Images and digests by instance id, and what is wrong with the others."""

    references: dict[str, str] = field(default_factory=dict)
    digests: dict[str, str] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)


def find_images(
    instances: Sequence[Instance], provider: SandboxProvider, on_progress: Progress
) -> Images:
    """The image of every instance: of process sandboxes, built when missing; of Docker, as named
    by the row and present in the engine."""
    images = Images()
    recipes = known_recipes()
    for instance in instances:
        try:
            if provider.kind == "process":
                recipe = recipe_for(instance, recipes)
                reference = str(build_process_image(instance, recipe, cache_root(), on_progress))
            else:
                reference = _named(instance, provider)
            images.digests[instance.instance_id] = provider.digest(reference)
            images.references[instance.instance_id] = reference
        except ImageMissingError as error:
            images.problems[instance.instance_id] = f"{error}; build it with: harness env build"
        except (RecipeError, ImageError) as error:
            images.problems[instance.instance_id] = str(error)
    return images


def _named(instance: Instance, provider: SandboxProvider) -> str:
    """The row's image; where its digest was not pulled, what was built under the name."""
    try:
        provider.digest(instance.image or "")
    except ImageMissingError:
        return image_name(instance)
    return instance.image or ""


def present_images(
    instances: Sequence[Instance], kind: Literal["docker", "process"]
) -> dict[str, str]:
    """The images that are here, by instance id; nothing is built."""
    recipes = known_recipes()
    found = {}
    client = connect() if kind == "docker" else None
    for instance in instances:
        if client is not None:
            name = image_name(instance)
            if find_image(client, name) is not None:
                found[instance.instance_id] = name
        elif (instance.repo, instance.version) in recipes:
            folder = image_folder(instance, recipe_for(instance, recipes), cache_root())
            if folder.is_dir():
                found[instance.instance_id] = str(folder.resolve())
    return found


def _puller(registry: str, on_progress: Progress, *, unpinned: bool) -> Puller:
    rows = load_locks(manifests_root() / "locks", "docker").rows
    digests = {name: row.registry_digest for name, row in rows.items() if row.registry_digest}
    return Puller(connect(), registry, digests, unpinned, on_progress)


def build_all(
    instances: Sequence[Instance],
    *,
    kind: Literal["docker", "process"],
    repos: Path | None,
    force: bool,
    pull: bool = False,
    registry: str = "",
    on_progress: Progress,
) -> list[BuildResult]:
    """Build the images of instances for one kind of sandbox; one that fails stops no other.

    Docker images whose row or lock has a registry's digest are pulled, where one answers: with
    `registry`, that one; with `pull`, those without a digest, too, by tag.
    """
    recipes = known_recipes()
    if kind == "docker":
        return build_images(
            instances,
            recipes=recipes,
            repos=repos,
            cache=cache_root(),
            force=force,
            puller=_puller(registry, on_progress, unpinned=pull),
            on_progress=on_progress,
        )
    results = []
    for instance in instances:
        began, digest, error, folder = time.monotonic(), "", "", ""
        try:
            recipe = recipe_for(instance, recipes)
            folder = str(build_process_image(instance, recipe, cache_root(), on_progress))
            digest = ProcessImage.load(Path(folder)).digest
        except (RecipeError, ImageError) as problem:
            error = str(problem)
        results.append(
            BuildResult(
                instance_id=instance.instance_id,
                image=folder,
                status="failed" if error else "present",
                digest=digest,
                seconds=time.monotonic() - began,
                error=error,
            )
        )
    return results
