"""Environment images: what a recipe installs, shared by all instances of a (repo, version)."""

import shlex
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from harness.environments.base_images import LABEL, OWN_NAMES, base_image, layout_digest
from harness.environments.build_container import BuildContainer
from harness.environments.engine import find_image, image_id, remove_replaced
from harness.environments.host_access import FOLDER, debian_mirror, host_access
from harness.environments.recipe import Recipe

if TYPE_CHECKING:
    from docker.client import DockerClient

# pip stores this option inverted: "true" turns isolation on again, for requirements that are
# built from source before their backend is there; the layout's pip.conf turns it off.
_PIP_SCRIPT = (
    f"PIP_NO_BUILD_ISOLATION=true python -m pip install --quiet -r {FOLDER}/requirements.txt"
)


def recipe_labels(recipe: Recipe) -> dict[str, str]:
    """The labels of images that this recipe and this layout make."""
    return {f"{LABEL}recipe": recipe.digest, f"{LABEL}base.layout": layout_digest()}


def environment_image(
    client: "DockerClient",
    recipe: Recipe,
    release: str,
    *,
    cache: Path,
    force: bool,
    on_progress: Callable[[str], None],
    prefix: str = OWN_NAMES,
) -> str:
    """The name of a recipe's environment image, made first when it is missing, outdated or `force`.

    `prefix` is what its name starts with.
    Raises ImageError when a package cannot be installed.
    """
    owner, name = recipe.repo.lower().split("/")
    image = f"{prefix}env.{owner}_1776_{name}:{recipe.version}"
    labels = recipe_labels(recipe)
    found = find_image(client, image)
    if not force and found is not None and labels.items() <= found.labels.items():
        return image
    base = base_image(client, release, cache=cache, on_progress=on_progress)
    on_progress(f"{recipe.repo} {recipe.version}: making the environment")
    access = host_access()
    files = {"requirements.txt": "\n".join(recipe.requirements).encode() + b"\n"}
    if mirror := debian_mirror():
        files["sources.list"] = f"deb {mirror} {release} main\n".encode()
    access = replace(access, files={**access.files, **files})
    with BuildContainer(client, base, access=access) as container:
        if recipe.apt:
            container.run(
                _apt_script(recipe.apt, own="sources.list" in files), step="apt-get install"
            )
        if recipe.requirements:
            container.run(_PIP_SCRIPT, step="pip install of the requirements")
        base_id = image_id(client.images.get(base))
        container.commit(image, {**labels, f"{LABEL}base": base_id})
    if found is not None:
        remove_replaced(client, image_id(found))
    return image


def _apt_script(packages: Sequence[str], *, own: bool) -> str:
    """`own`: from the sources that were brought along, not the image's."""
    apt = "apt-get -q -o APT::Install-Recommends=false"
    if own:
        apt += f" -o Dir::Etc::sourcelist={FOLDER}/sources.list -o Dir::Etc::sourceparts=-"
    return f"{apt} update\n{apt} install -y -- {shlex.join(packages)}"
