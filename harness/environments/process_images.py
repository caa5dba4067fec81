"""Images for process sandboxes: no engine, an environment shared by the instances of a recipe.

    <cache>/environments/<key>/        bin/activate, etc/…, envs/testbed: mounted at /opt/miniconda3
    <cache>/images/<instance>-<key>/   image.json, testbed: the work tree at the base commit

Both are built beside their place and renamed into it, so that a folder there is whole.
"""

import fcntl
import hashlib
import json
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import resources
from pathlib import Path

from harness.environments.base_images import PREFIX
from harness.environments.errors import ImageError
from harness.environments.recipe import Recipe
from harness.environments.source import fetch_sdist, materialise, unpack_sdist
from harness.environments.virtual_env import make_virtual_env
from harness.records import Instance
from harness.sandboxes.base import WORKDIR, Limits, SandboxFailure
from harness.sandboxes.bubblewrap import PATH
from harness.sandboxes.process import Mount, ProcessImage, ProcessProvider

_BUILDER = "2"
_ENVIRONMENT = f"{PREFIX}/envs/testbed"
_PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
_LAYOUT = {
    "activate": "bin/activate",
    "conda.sh": "etc/profile.d/conda.sh",
    "pip.conf": "envs/testbed/pip.conf",
}
_INSTALL_SECONDS = 300.0
_TAIL = 2000

Progress = Callable[[str], None]


def build_process_image(
    instance: Instance, recipe: Recipe, cache: Path, on_progress: Progress
) -> Path:
    """The folder of an instance's image, built first where it is missing.

    Safe when several processes build the same; offline once built. Raises ImageError when the
    recipe cannot be built for process sandboxes here.
    """
    environment = build_environment(recipe, cache, on_progress)
    digest = _image_digest(instance, environment)
    folder = image_folder(instance, recipe, cache)
    if folder.is_dir():
        return folder.resolve()
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".build-") as name:
        build = Path(name, "image")
        build.mkdir()
        materialise(instance, recipe, cache, build / "testbed")
        ProcessImage(
            digest=f"sha256:{digest}",
            mounts=(
                Mount(source=f"../../environments/{environment.name}", target=PREFIX, mode="ro"),
                Mount(source="testbed", target=WORKDIR, mode="copy"),
            ),
            env={"PATH": f"{_ENVIRONMENT}/bin:{PREFIX}/bin:{PATH}"},
        ).save(build)
        _move(build, folder)
    return folder.resolve()


def image_folder(instance: Instance, recipe: Recipe, cache: Path) -> Path:
    """Where an instance's image is, or would be."""
    digest = _image_digest(instance, environment_folder(recipe, cache))
    return cache / "images" / f"{instance.instance_id}-{digest[:16]}"


def environment_folder(recipe: Recipe, cache: Path) -> Path:
    """Where a recipe's environment is, or would be."""
    layout = {name: _layout_file(name) for name in _LAYOUT}
    key = _sha256([_BUILDER, recipe.digest, sys.version, sys.base_prefix, layout])[:32]
    return cache / "environments" / key


def build_environment(recipe: Recipe, cache: Path, on_progress: Progress) -> Path:
    """The folder of a recipe's environment, built first where it is missing.

    It has the recipe's requirements and the package, installed from a work tree at /testbed that
    every instance brings along. Raises ImageError.
    """
    if recipe.python != _PYTHON or recipe.apt or recipe.sdist is None:
        raise ImageError(
            f"{recipe.repo} {recipe.version} needs Docker (harness env build --kind docker): a "
            f"process sandbox has this harness's own Python {_PYTHON}, no Debian packages of its "
            "own, and sources from source distributions only"
        )
    folder = environment_folder(recipe, cache)
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with (
        _lock(folder.with_suffix(".lock")),
        tempfile.TemporaryDirectory(dir=folder.parent, prefix=".build-") as name,
    ):
        if folder.is_dir():
            return folder
        on_progress(f"{recipe.repo} {recipe.version}: building the environment")
        build = Path(name)
        prefix, source = build / "prefix", build / "source"
        unpack_sdist(fetch_sdist(recipe.sdist, cache), source)
        make_virtual_env(prefix / "envs" / "testbed", recipe.requirements, at=_ENVIRONMENT)
        for file, place in _LAYOUT.items():
            path = prefix / place
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(_layout_file(file))
        _install(recipe, build)
        _move(prefix, folder)
    return folder


def _install(recipe: Recipe, build: Path) -> None:
    """Run the recipe's install command on the source, in a sandbox with no network."""
    ProcessImage(
        digest=recipe.digest,
        mounts=(
            Mount(source="prefix", target=PREFIX, mode="rw"),
            Mount(source="source", target=WORKDIR, mode="copy"),
        ),
    ).save(build)
    script = f"source {PREFIX}/bin/activate && conda activate testbed && {recipe.install}"
    try:
        provider = ProcessProvider(build / "sandboxes")
        with provider.start(str(build), limits=Limits(), owner="environment") as sandbox:
            result = sandbox.exec(script, timeout=_INSTALL_SECONDS, env={"PYTHONHASHSEED": "0"})
    except SandboxFailure as error:
        raise ImageError(f"{recipe.repo} {recipe.version}: {error}") from None
    if result.exit_code != 0:
        how = "took too long" if result.timed_out else f"exit {result.exit_code}"
        raise ImageError(
            f"{recipe.repo} {recipe.version}: {recipe.install!r} failed ({how}):\n"
            f"{result.text[-_TAIL:].strip()}"
        )


def _image_digest(instance: Instance, environment: Path) -> str:
    return _sha256([environment.name, instance.instance_id, instance.base_commit])


def _move(build: Path, folder: Path) -> None:
    """Rename a finished folder into its place, unless another process was first."""
    try:
        build.rename(folder)
    except OSError:
        if not folder.is_dir():
            raise
        shutil.rmtree(build)


@contextmanager
def _lock(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _layout_file(name: str) -> str:
    return resources.files("harness.environments").joinpath("layout", name).read_text()


def _sha256(described: object) -> str:
    return hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()
