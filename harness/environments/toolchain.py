"""The OpenHands toolchain that sandboxes see at /opt/oh: where it is, and how they get it."""

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from importlib.resources import files
from pathlib import Path
from types import MappingProxyType
from typing import Any

from harness.environments.errors import ImageError
from harness.environments.toolchain_tree import FACTS, LOCK
from harness.records import Record
from harness.records.cache import cache_root
from harness.sandboxes.base import Bind

TOOLCHAIN_FOLDER = "/opt/oh"
PYTHON = f"{TOOLCHAIN_FOLDER}/bin/python"
# To be added at the end of PATH: tmux, and no Python that an agent could take for the image's.
TOOLCHAIN_PATH = f"{TOOLCHAIN_FOLDER}/path"
TOOLCHAIN_ENV: Mapping[str, str] = MappingProxyType(
    {
        "ANONYMIZED_TELEMETRY": "false",
        "DO_NOT_TRACK": "1",
        "FASTMCP_ENV_FILE": os.devnull,  # else a work tree's .env is read
        "HF_HUB_OFFLINE": "1",
        "LC_ALL": "C.UTF-8",
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # else its import asks the network, and may hang
        "LITELLM_MODE": "PRODUCTION",  # else it reads .env files
        "OPENHANDS_SUPPRESS_BANNER": "1",
        "TERMINFO_DIRS": f"{TOOLCHAIN_FOLDER}/share/terminfo:/usr/share/terminfo:/lib/terminfo",
    }
)

_NAMED = ("openhands-sdk", "openhands-tools", "openhands-agent-server", "libc6", "tmux")
_PYTHON_DEB = "python3.13"

Progress = Callable[[str], None]


class ToolchainMissingError(ImageError):
    """There is no toolchain on this machine yet."""


class Toolchain(Record):
    """A finished toolchain. `digest` (`sha256:…`) covers the content of all its files."""

    root: Path
    digest: str
    versions: dict[str, str]

    def __hash__(self) -> int:
        return hash(self.digest)


def recipe_root() -> Path:
    """The folder with `build.sh` and the lock: package data when installed, else the checkout's.

    Raises ImageError when neither exists.
    """
    package = Path(str(files("harness")))
    for folder in (package / "_docker" / "openhands", package.parent / "docker" / "openhands"):
        if (folder / "build.sh").is_file():
            return folder
    raise ImageError(f"no toolchain recipe next to {package}: install the package again")


def recipe_key() -> str:
    """What names a toolchain's folder: the recipe, hashed."""
    root = recipe_root()
    parts = [(root / name).read_bytes() for name in ("build.sh", LOCK)]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:16]


def toolchain_folder() -> Path:
    """Where this machine's toolchain is, or will be: `HARNESS_TOOLCHAIN`, else in the cache."""
    named = os.environ.get("HARNESS_TOOLCHAIN")
    return Path(named) if named else cache_root() / "toolchains" / recipe_key()


def find_toolchain() -> Toolchain:
    """The toolchain of this machine. Raises ToolchainMissingError, which says how to build it."""
    folder = toolchain_folder()
    try:
        return read_toolchain(folder)
    except FileNotFoundError:
        raise ToolchainMissingError(
            f"there is no OpenHands toolchain at {folder}: run `harness toolchain build`"
        ) from None


def ensure_toolchain(on_progress: Progress) -> Toolchain:
    """The toolchain of this machine, built first when it is missing. Raises ImageError."""
    try:
        return find_toolchain()
    except ToolchainMissingError:
        from harness.environments.toolchain_build import build_toolchain

        return build_toolchain(on_progress=on_progress)


def toolchain_bind(toolchain: Toolchain, sandbox_kind: str) -> Bind:
    """How a sandbox of a kind sees the toolchain, read-only.

    A process sandbox takes the folder, a container a volume, which is made when the engine does
    not have it. Raises ImageError when that fails.
    """
    source = str(toolchain.root)
    if sandbox_kind == "docker":
        from harness.environments.toolchain_docker import ensure_volume

        source = ensure_volume(toolchain)
    return Bind(source=source, target=TOOLCHAIN_FOLDER)


def read_toolchain(root: Path) -> Toolchain:
    """The toolchain in a folder. Raises FileNotFoundError when there is none."""
    facts: dict[str, Any] = json.loads((root / FACTS).read_text())
    found = {each["name"]: each["version"] for each in (*facts["debs"], *facts["wheels"])}
    versions = {name: found[name] for name in _NAMED}
    versions["python"] = found[_PYTHON_DEB].partition("-")[0]
    return Toolchain(root=root.resolve(), digest=facts["digest"], versions=versions)
