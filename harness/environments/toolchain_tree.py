"""What a toolchain's tree holds: its files by content, and the packages they came from.

Standard library only: the toolchain's own Python runs this file too, as `toolchain_tree.py seal
PREFIX` when docker/openhands/Dockerfile is built, and as `check` in a container.
"""

import hashlib
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

FACTS = "toolchain.json"
FILES = "files.txt"
DEBS = "debs.txt"
LOCK = "requirements.lock"
FILLED = ".filled"  # in a Docker volume, once it is
SCHEMA_VERSION = 1


def seal(root: Path) -> str:
    """Write the tree's list of files and its facts into it; the digest (`sha256:…`).

    The digest covers path, mode and content of every file, folder and link; no times, no owners.
    """
    listed = "".join(f"{line}\n" for line in tree_lines(root))
    (root / FILES).write_text(listed)
    facts = {
        "schema_version": SCHEMA_VERSION,
        "digest": "sha256:" + hashlib.sha256(listed.encode()).hexdigest(),
        "debs": _debs((root / DEBS).read_text()),
        "wheels": _wheels((root / LOCK).read_text()),
    }
    (root / FACTS).write_text(json.dumps(facts, indent=1) + "\n")
    return str(facts["digest"])


def differences(root: Path) -> tuple[str, ...]:
    """What of the tree is not as its list says, one sentence a path; empty when all is well.

    Raises FileNotFoundError when the tree was never sealed.
    """
    listed = (root / FILES).read_text()
    digest = json.loads((root / FACTS).read_text())["digest"]
    said = []
    if digest != "sha256:" + hashlib.sha256(listed.encode()).hexdigest():
        said.append(f"{FILES} does not match the digest in {FACTS}")
    expected = dict(_path_and_rest(line) for line in listed.splitlines())
    found = dict(_path_and_rest(line) for line in tree_lines(root))
    for path in sorted(expected.keys() | found.keys()):
        if path not in found:
            said.append(f"{path} is missing")
        elif path not in expected:
            said.append(f"{path} was added")
        elif found[path] != expected[path]:
            said.append(f"{path} was changed")
    return tuple(said)


def tree_lines(root: Path) -> Iterator[str]:
    """Every entry as `mode content path`, sorted by path; a seal's own files left out."""
    for path in sorted(_walk(root, "")):
        full = root / path
        if full.is_symlink():
            yield f"link {_sha256(str(full.readlink()).encode())} {path}"
        elif full.is_dir():
            yield f"{_mode(full)} folder {path}"
        else:
            yield f"{_mode(full)} {_sha256(full.read_bytes())} {path}"


def _walk(root: Path, folder: str) -> Iterator[str]:
    for entry in os.scandir(root / folder):
        path = f"{folder}{entry.name}"
        if path not in (FACTS, FILES, FILLED):
            yield path
            if entry.is_dir(follow_symlinks=False):
                yield from _walk(root, f"{path}/")


def _path_and_rest(line: str) -> tuple[str, str]:
    mode, content, path = line.split(" ", 2)
    return path, f"{mode} {content}"


def _debs(text: str) -> list[dict[str, str]]:
    keys = ("name", "version", "sha256")
    return [dict(zip(keys, line.split(), strict=True)) for line in text.splitlines()]


def _wheels(text: str) -> list[dict[str, str]]:
    found = []
    for line in text.splitlines():
        pin, _, digest = line.partition(" --hash=sha256:")
        name, _, version = pin.partition("==")
        found.append({"name": name, "version": version, "sha256": digest})
    return found


def _mode(path: Path) -> str:
    return f"{path.stat().st_mode & 0o7777:04o}"


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


if __name__ == "__main__":
    verb, folder = sys.argv[1:]
    print(json.dumps({"seal": seal, "check": differences}[verb](Path(folder))))
