"""The snapshot of an instance at its base commit, from whichever place has it."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from harness.datagen.snapshots_image import unpack_repository
from harness.datagen.snapshots_release import open_release
from harness.environments.errors import ImageError
from harness.environments.recipe import Recipe
from harness.environments.repository import find_mirror
from harness.environments.source import materialise
from harness.records import Instance
from pi_extractors.base import ExtractionError, Snapshot
from pi_extractors.snapshot import GitSnapshot


class NoSnapshotError(ImageError):
    """No place has the tree of an instance; the text says what each of them said."""


@dataclass(frozen=True)
class Opened:
    """A snapshot, and where it is from in words that hold on every machine."""

    snapshot: Snapshot
    origin: str


class Snapshots:
    """Opens snapshots. Asked in this order: a local repository below `repos`, the recipe's pinned
    sdist, the instance's Docker image, and with `releases` the package index.

    All but the last give the tree of the base commit. A release is near to it at best: it is used
    only when asked for, with the instance's patches undone, and its origin says so.
    """

    def __init__(
        self,
        *,
        repos: Path | None,
        recipes: dict[tuple[str, str], Recipe],
        cache: Path,
        releases: bool = False,
    ) -> None:
        self._repos = repos
        self._recipes = recipes
        self._cache = cache
        self._releases = releases
        self._no_engine = ""

    @contextmanager
    def open(self, instance: Instance) -> Iterator[Opened]:
        """The snapshot, usable inside the `with` block. Raises NoSnapshotError."""
        said = []
        with tempfile.TemporaryDirectory(prefix="harness-snapshot-") as name:
            for way in (self._repository, self._sdist, self._image, self._release):
                try:
                    opened = way(instance, Path(name) / way.__name__)
                except (ImageError, ExtractionError) as error:
                    said.append(str(error))
                    continue
                if opened is None:
                    continue
                try:
                    yield opened
                finally:
                    if isinstance(opened.snapshot, GitSnapshot):
                        opened.snapshot.close()
                return
        hint = "" if self._repos else "; give a folder of git repositories with --repos"
        raise NoSnapshotError(
            f"{instance.instance_id}: nothing here has the tree of {instance.repo} at "
            f"{instance.base_commit[:12]}: {'; '.join(said) or 'no place was named'}{hint}"
        )

    def _repository(self, instance: Instance, folder: Path) -> Opened | None:
        if self._repos is None:
            return None
        mirror = find_mirror(self._repos, instance.repo)
        return _commit(mirror, instance, "base commit, from a local repository")

    def _sdist(self, instance: Instance, folder: Path) -> Opened | None:
        recipe = self._recipes.get((instance.repo, instance.version))
        if recipe is None or recipe.sdist is None:
            return None
        materialise(instance, recipe, self._cache, folder)
        origin = f"base commit, from the sdist of {recipe.sdist.name} {recipe.sdist.version}"
        return _commit(folder, instance, origin)

    def _image(self, instance: Instance, folder: Path) -> Opened | None:
        if self._no_engine:
            raise ImageError(self._no_engine)
        try:
            unpack_repository(instance, folder)
        except ConnectionError as error:
            self._no_engine = str(error)
            raise ImageError(self._no_engine) from None
        return _commit(folder, instance, "base commit, from the instance's image")

    def _release(self, instance: Instance, folder: Path) -> Opened | None:
        if not self._releases:
            return None
        snapshot, origin = open_release(instance, self._cache)
        return Opened(snapshot, origin)


def _commit(repository: Path, instance: Instance, origin: str) -> Opened:
    snapshot = GitSnapshot(repository, instance.base_commit)
    if not snapshot.files:
        raise ExtractionError(f"{instance.base_commit} of {instance.repo} has no files")
    return Opened(snapshot, origin)
