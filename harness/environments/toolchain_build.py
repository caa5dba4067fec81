"""Build the OpenHands toolchain into the user's cache."""

import configparser
import fcntl
import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

from harness.environments.errors import ImageError
from harness.environments.host_access import debian_mirror, host_access
from harness.environments.toolchain import (
    Progress,
    Toolchain,
    read_toolchain,
    recipe_root,
    toolchain_folder,
)
from harness.environments.toolchain_tree import FACTS, LOCK, differences, seal

_DRAFT = ".build-"
_SECONDS = 1800
_TAIL = 2000


def build_toolchain(
    *, image: str | None = None, force: bool = False, on_progress: Progress
) -> Toolchain:
    """Fill the toolchain's folder by the recipe, or from an `image` that the recipe made.

    What is there already is kept unless `force`. Builds beside its place and renames: a folder
    there is whole. Builds wait for each other. Raises ImageError with the end of what went wrong.
    """
    folder = toolchain_folder()
    folder.parent.mkdir(parents=True, exist_ok=True)
    with (folder.parent / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for left in folder.parent.glob(f"{_DRAFT}*"):
            shutil.rmtree(left)
        if folder.is_dir() and not force:
            return read_toolchain(folder)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=_DRAFT) as name:
            draft = Path(name, "tree")
            if image is None:
                on_progress("toolchain: downloading and unpacking (about half a minute)")
                run_recipe(recipe_root(), draft)
                seal(draft)
            else:
                on_progress(f"toolchain: taking it out of {image}")
                _take_out(image, draft)
            if folder.exists():
                folder.rename(Path(name, "replaced"))
            draft.rename(folder)
    return read_toolchain(folder)


def _take_out(image: str, draft: Path) -> None:
    from harness.environments.toolchain_docker import extract

    extract(image, draft)
    if not (draft / FACTS).is_file():
        raise ImageError(f"{image} was not built by docker/openhands/Dockerfile: no {FACTS}")
    wrong = differences(draft)
    if wrong:
        raise ImageError(f"{image} is not as it was built: {wrong[0]}")
    if (draft / LOCK).read_bytes() != (recipe_root() / LOCK).read_bytes():
        raise ImageError(f"{image} has other packages than {LOCK}: build it from this version")


def run_recipe(recipe: Path, prefix: Path) -> None:
    """Run a recipe folder's `build.sh`. Raises ImageError with the end of its output."""
    with tempfile.TemporaryDirectory(prefix="harness-toolchain-") as work:
        try:
            result = subprocess.run(
                ["bash", str(recipe / "build.sh"), str(prefix)],
                env=os.environ | build_env(Path(work)),
                cwd=work,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=_SECONDS,
            )
        except subprocess.TimeoutExpired:
            raise ImageError(f"building the toolchain took over {_SECONDS} s") from None
    if result.returncode != 0:
        said = result.stdout.decode(errors="replace").strip()[-_TAIL:]
        raise ImageError(f"the toolchain cannot be built (exit {result.returncode}): {said}")


def build_env(work: Path, environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """What `build.sh` needs from this machine: uv, mirror, and pip's indexes in uv's words.

    uv's own variables, where set, win. A certificate bundle is written into `work`.
    """
    access = host_access(environ)
    config = configparser.RawConfigParser()
    config.read_string(access.files["pip.conf"].decode())
    options = dict(config["global"])
    env = {"UV": _uv(), "TMPDIR": str(work), "UV_HTTP_TIMEOUT": options.get("timeout", "120")}
    if "index-url" in options:
        env["UV_DEFAULT_INDEX"] = options["index-url"]
    if "extra-index-url" in options:
        env |= {"UV_INDEX": options["extra-index-url"], "UV_INDEX_STRATEGY": "unsafe-best-match"}
    if "trusted-host" in options:
        env["UV_INSECURE_HOST"] = options["trusted-host"]
    if "certificates.pem" in access.files:
        bundle = work / "certificates.pem"
        bundle.write_bytes(access.files["certificates.pem"])
        env["SSL_CERT_FILE"] = str(bundle)
    env = {name: value for name, value in env.items() if name not in environ or name == "TMPDIR"}
    mirror = debian_mirror(environ)
    return env | ({"DEBIAN_MIRROR": mirror} if mirror else {})


def _uv() -> str:
    try:
        from uv import find_uv_bin
    except ImportError:
        raise ImageError("uv is missing: pip install uv") from None
    return find_uv_bin()
