"""When each image was last used, and which ones runs of living processes use now."""

import fcntl
import hashlib
import json
import os
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from harness.records.cache import cache_root


def touch(references: Iterable[str]) -> None:
    """Note that images, environments or volumes are used now."""
    for reference in references:
        path = _record(reference)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def last_used(reference: str) -> float:
    """Seconds since the epoch of the last `touch`; 0.0 when there was none."""
    try:
        return _record(reference).stat().st_mtime
    except FileNotFoundError:
        return 0.0


@contextmanager
def using(references: Iterable[str]) -> Iterator[None]:
    """While the block runs, nobody removes these images; a crash ends that, too.

    Waits for a removal that is under way.
    """
    names = sorted(set(references))
    folder = _folder() / "living"
    path = folder / f"{os.getpid()}-{secrets.token_hex(4)}.json"
    with settled(exclusive=False):
        folder.mkdir(parents=True, exist_ok=True)
        file = path.open("w", encoding="utf-8")
        fcntl.flock(file, fcntl.LOCK_EX)
        json.dump(names, file)
        file.flush()
        touch(names)
    try:
        yield
    finally:
        touch(names)
        path.unlink(missing_ok=True)
        file.close()


def in_use() -> frozenset[str]:
    """What is inside a `using` block of a living process."""
    found: set[str] = set()
    for path in (_folder() / "living").glob("*.json"):
        try:
            with path.open(encoding="utf-8") as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    found.update(json.load(file))
                else:
                    path.unlink(missing_ok=True)
        except FileNotFoundError:
            continue
    return frozenset(found)


@contextmanager
def settled(*, exclusive: bool) -> Iterator[None]:
    """Hold the lock that removals have to themselves, and beginnings of use share."""
    _folder().mkdir(parents=True, exist_ok=True)
    with (_folder() / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH)
        yield


def _folder() -> Path:
    return cache_root() / "used"


def _record(reference: str) -> Path:
    return _folder() / "at" / hashlib.sha256(reference.encode()).hexdigest()[:32]
