# /// script
# requires-python = ">=3.11"
# dependencies = ["packaging>=24", "uv>=0.9"]
# ///
"""Write the hashes into requirements.lock: one wheel per package, the one that uv would choose.

To move to another version, edit the `name==version` of its lines, then: uv run lock.py
The set is what the agent and the agent-server import, less what only a browser, a metrics service,
a hub or a cloud provider needs. Nothing is resolved: a package that is missing shows in
`harness toolchain verify`.
"""

import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from packaging.tags import Tag, compatible_tags, cpython_tags
from packaging.utils import parse_wheel_filename
from uv import find_uv_bin

LOCK = Path(__file__).with_name("requirements.lock")
PYTHON = (3, 13)
GLIBC_MINOR = 40


def tags() -> Iterator[Tag]:
    """The tags that fit the toolchain's Python and libc, best first."""
    platforms = [f"manylinux_2_{minor}_x86_64" for minor in range(GLIBC_MINOR, 4, -1)]
    platforms += ["manylinux2014_x86_64", "manylinux2010_x86_64", "manylinux1_x86_64"]
    platforms += ["linux_x86_64"]
    yield from cpython_tags(PYTHON, platforms=platforms)
    yield from compatible_tags(PYTHON, interpreter="cp313", platforms=platforms)


def lock(pins: list[str]) -> list[str]:
    """Each pin with the SHA-256 of its best wheel."""
    rank = {tag: place for place, tag in reversed(list(enumerate(tags())))}

    def place(wheel: dict[str, str]) -> int:
        name = wheel.get("name") or wheel["url"].rpartition("/")[2]
        fits = parse_wheel_filename(name.replace("%2B", "+"))[3] & rank.keys()
        return min((rank[tag] for tag in fits), default=len(rank))

    lines = []
    for package in resolve(pins):
        wheel = min(package["wheels"], key=place)
        pin = f"{package['name']}=={package['version']}"
        if place(wheel) == len(rank):
            raise SystemExit(f"{pin}: no wheel fits")
        lines.append(f"{pin} --hash=sha256:{wheel['hashes']['sha256']}")
    return lines


def resolve(pins: list[str]) -> list[dict[str, Any]]:
    """What the package index says of each pin."""
    with tempfile.TemporaryDirectory() as folder:
        source, result = Path(folder, "pins.in"), Path(folder, "pylock.toml")
        source.write_text("\n".join(pins) + "\n")
        command = [find_uv_bin(), "pip", "compile", "--quiet", "--no-config", "--no-deps"]
        command += ["--only-binary", ":all:", "--format", "pylock.toml", str(source)]
        command += ["--python-version", ".".join(map(str, PYTHON)), "-o", str(result)]
        command += ["--python-platform", f"x86_64-manylinux_2_{GLIBC_MINOR}"]
        if subprocess.run(command).returncode:
            sys.exit(1)
        packages: list[dict[str, Any]] = tomllib.loads(result.read_text())["packages"]
        return packages


if __name__ == "__main__":
    written = LOCK.read_text().splitlines()
    LOCK.write_text("\n".join(lock([line.split()[0] for line in written])) + "\n")
