"""Docker images of instances: a base, one environment per recipe, one layer per instance.

Only the environment layer is built with a network: an instance's own code, which its `install`
runs, never sees one.
"""

import tarfile
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from harness.environments.base_images import LABEL, OWN_NAMES, release_for
from harness.environments.build_container import BuildContainer, remove_leftovers
from harness.environments.engine import connect, find_image, image_id, remove_replaced
from harness.environments.environment_images import environment_image, recipe_labels
from harness.environments.errors import ImageError
from harness.environments.pull import Puller, Reference
from harness.environments.recipe import Recipe, RecipeError, recipe_for
from harness.environments.repository import find_mirror, snapshot, verify
from harness.environments.source import materialise
from harness.records import Instance, Record

if TYPE_CHECKING:
    from docker.client import DockerClient

Recipes = dict[tuple[str, str], Recipe]


class BuildResult(Record):
    """What became of one instance's image. `size_bytes` counts shared layers too."""

    instance_id: str
    image: str
    status: Literal["built", "pulled", "present", "failed"]
    digest: str = ""
    seconds: float = 0.0
    size_bytes: int = 0
    error: str = ""


def image_name(instance: Instance) -> str:
    """The row's `image` without digest, or, for rows without, the name that upstream has."""
    upstream = instance.instance_id.lower().replace("__", "_1776_")
    image = instance.image or f"swebench/sweb.eval.x86_64.{upstream}:latest"
    return Reference.parse(image).local if "@" in image else image


def build_images(
    instances: Sequence[Instance],
    *,
    recipes: Recipes,
    repos: Path | None,
    cache: Path,
    force: bool = False,
    environments: str = OWN_NAMES,
    puller: Puller | None = None,
    on_progress: Callable[[str], None],
) -> list[BuildResult]:
    """Build the images of instances that the engine does not have yet.

    `repos` holds local mirrors of the upstream repositories (see `find_mirror`); recipes with an
    sdist do without. An image is present when it was built for the same base commit by the same
    recipe and layout, or when it was not built here at all (pulled); `force` rebuilds those too.
    `environments` is what the names of environment images start with. What `puller` can pull is not
    built.
    An image that fails does not stop the others. Raises ImageError when no engine answers.
    """
    client = connect()
    remove_leftovers(client)
    builder = _Builder(client, recipes, repos, cache, force, environments, puller, on_progress)
    return [builder.build(instance) for instance in instances]


class _Builder:
    """One call of `build_images`: environments are made once, or fail once."""

    def __init__(
        self,
        client: "DockerClient",
        recipes: Recipes,
        repos: Path | None,
        cache: Path,
        force: bool,
        prefix: str,
        puller: Puller | None,
        on_progress: Callable[[str], None],
    ) -> None:
        self._client = client
        self._recipes = recipes
        self._repos = repos
        self._cache = cache
        self._force = force
        self._prefix = prefix
        self._puller = puller
        self._on_progress = on_progress
        self._environments: dict[str, str | ImageError] = {}

    def build(self, instance: Instance) -> BuildResult:
        from docker.errors import DockerException

        began = time.monotonic()
        image = image_name(instance)
        status: Literal["built", "pulled", "present"] = "present"
        try:
            if not self._is_present(instance):
                status = "pulled" if self._pull(instance) else "built"
                if status == "built":
                    self._build(instance)
            found = self._client.images.get(image)
        except (ImageError, RecipeError, DockerException, OSError) as error:
            self._on_progress(f"{instance.instance_id}: failed: {error}")
            return BuildResult(
                instance_id=instance.instance_id,
                image=image,
                status="failed",
                seconds=time.monotonic() - began,
                error=str(error),
            )
        self._on_progress(f"{instance.instance_id}: {status}")
        return BuildResult(
            instance_id=instance.instance_id,
            image=image,
            status=status,
            digest=image_id(found),
            seconds=time.monotonic() - began,
            size_bytes=int(found.attrs["Size"]),
        )

    def _is_present(self, instance: Instance) -> bool:
        found = None if self._force else find_image(self._client, image_name(instance))
        if found is None:
            return False
        if f"{LABEL}instance" not in found.labels:
            return True
        labels = _instance_labels(instance, recipe_for(instance, self._recipes))
        return labels.items() <= found.labels.items()

    def _pull(self, instance: Instance) -> bool:
        """Pull what can be pulled; whether that worked."""
        image = instance.image or image_name(instance)
        if self._puller is None or not self._puller.wants(instance.instance_id, image):
            return False
        try:
            self._puller.pull(instance.instance_id, image)
        except ImageError as error:
            self._on_progress(f"{instance.instance_id}: {error}; building it from its recipe")
            return False
        return True

    def _build(self, instance: Instance) -> None:
        image = image_name(instance)
        if image.startswith(OWN_NAMES):
            raise ImageError(
                f"the row's image is {image}: a row cannot replace {OWN_NAMES}* images"
            )
        recipe = recipe_for(instance, self._recipes)
        release = release_for(recipe.python, image)
        replaced = find_image(self._client, image)
        with tempfile.TemporaryDirectory(prefix="harness-source-") as folder:
            source = Path(folder, "testbed")
            self._take_source(instance, recipe, source)
            environment = self._environment(recipe, release)
            self._on_progress(f"{instance.instance_id}: installing the base commit")
            with (
                BuildContainer(self._client, environment) as container,
                tempfile.TemporaryFile() as archive,
            ):
                with tarfile.open(fileobj=archive, mode="w") as writer:
                    writer.add(source / ".git", ".git", filter=_owned_by_root)
                archive.seek(0)
                container.unpack(archive, "/testbed")
                container.run("git -c core.logAllRefUpdates=false checkout -q -f", step="checkout")
                container.run(recipe.install, step=f"install ({recipe.install})")
                container.run(_seal(instance.base_commit), step="check after the install")
                container.commit(image, _instance_labels(instance, recipe))
        if replaced is not None:
            remove_replaced(self._client, image_id(replaced))

    def _take_source(self, instance: Instance, recipe: Recipe, destination: Path) -> None:
        if recipe.sdist:
            materialise(instance, recipe, self._cache, destination)
        elif self._repos is None:
            raise ImageError(
                f"the source of {instance.repo} is its history: name the folder of local mirrors "
                f"(--repos DIR), or pull the upstream image: docker pull {image_name(instance)}"
            )
        else:
            mirror = find_mirror(self._repos, instance.repo)
            snapshot(mirror, instance.base_commit, destination)
        verify(destination, instance.base_commit)

    def _environment(self, recipe: Recipe, release: str) -> str:
        known = self._environments.get(recipe.digest)
        if known is None:
            try:
                known = environment_image(
                    self._client,
                    recipe,
                    release,
                    cache=self._cache,
                    force=self._force,
                    on_progress=self._on_progress,
                    prefix=self._prefix,
                )
            except ImageError as error:
                known = error
            self._environments[recipe.digest] = known
        if isinstance(known, ImageError):
            raise known
        return known


def _seal(base_commit: str) -> str:
    """Check that an install left the commit alone; hide from git what it put beside it."""
    return f"""
[ "$(git rev-parse HEAD)" = {base_commit} ] || {{ echo "HEAD moved"; exit 1; }}
git diff --exit-code --stat HEAD || {{ echo "install changed files of the commit"; exit 1; }}
mkdir -p .git/info
git ls-files -z --others --exclude-standard --directory |
    while IFS= read -r -d '' path; do printf '/%s\\n' "$path"; done >> .git/info/exclude
"""


def _instance_labels(instance: Instance, recipe: Recipe) -> dict[str, str]:
    return {
        f"{LABEL}instance": instance.instance_id,
        f"{LABEL}base-commit": instance.base_commit,
        **recipe_labels(recipe),
    }


def _owned_by_root(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.uname = member.gname = "root"
    return member
