"""A virtual environment that is used at another path than it was made at."""

import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from harness.environments.errors import ImageError

_SECONDS = 600


def make_virtual_env(folder: Path, requirements: Sequence[str], *, at: str) -> None:
    """Make a virtual environment of this harness's own Python with requirements, for use `at`.

    uv installs where there is one; pip, when it is missing or does not know this machine's index.
    Raises ImageError with the last words of each.
    """
    python = Path(sys.base_prefix, "bin", f"python3.{sys.version_info.minor}")
    if not python.exists():
        raise ImageError(f"no Python at {python}, which this harness was started with")
    _run([str(python), "-m", "venv", "--without-pip", str(folder)])
    if requirements:
        with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
            file.writelines(f"{line}\n" for line in requirements)
            file.flush()
            _install(folder / "bin" / "python", file.name)
        _compile(folder, at)
    _relocate(folder, at)


def _compile(folder: Path, at: str) -> None:
    """Compile for the path of use; what is written for another Python is left as it is."""
    command = [str(folder / "bin" / "python"), "-m", "compileall", "-q", "-f", str(folder / "lib")]
    subprocess.run(
        [*command, "-s", str(folder), "-p", at],
        capture_output=True,
        timeout=_SECONDS,
        env={**os.environ, "PYTHONHASHSEED": "0"},
    )


def _install(python: Path, requirements: str) -> None:
    said = []
    for installer in _installers(python):
        try:
            _run([*installer, "--quiet", "--only-binary=:all:", "-r", requirements])
        except ImageError as error:
            said.append(str(error))
        else:
            return
    raise ImageError("cannot install the requirements: " + ("\n".join(said) or "no uv and no pip"))


def _installers(python: Path) -> list[list[str]]:
    found = []
    beside = Path(sys.executable).with_name("uv")
    uv = str(beside) if beside.exists() else shutil.which("uv")
    if uv:
        # Copies, not links: the install command runs in a sandbox that may write to them.
        found.append([uv, "pip", "install", "-p", str(python), "--link-mode=copy"])
    if importlib.util.find_spec("pip"):
        found.append([sys.executable, "-m", "pip", f"--python={python}", "install", "--no-compile"])
    return found


def _run(command: list[str]) -> None:
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS)
    except subprocess.TimeoutExpired:
        raise ImageError(f"{command[0]} took over {_SECONDS} s") from None
    if result.returncode != 0:
        raise ImageError(f"{' '.join(command[:4])}: {result.stderr.strip()[-1000:]}")


def _relocate(folder: Path, at: str) -> None:
    """Make scripts and settings name the path of use."""
    here = str(folder)
    for path in [folder / "pyvenv.cfg", *(folder / "bin").iterdir()]:
        if path.is_file() and not path.is_symlink():
            content = path.read_bytes()
            if here.encode() in content:
                path.write_bytes(content.replace(here.encode(), at.encode()))
