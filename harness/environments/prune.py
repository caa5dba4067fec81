"""Remove what was least recently used until the rest fits a disk budget."""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from harness.environments.errors import ImageError
from harness.environments.usage import settled
from harness.records import Record

_UNITS = {"": 1, "K": 1000, "M": 1000**2, "G": 1000**3, "T": 1000**4}
_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?([KMGT]?)(i?)B?", re.IGNORECASE)


@dataclass(frozen=True)
class Item:
    """Something that takes disk space and can be made again.

    `parts` are its pieces (layers, files) and their bytes: pieces of the same name are shared.
    `needs` are the ids of items that have to stay as long as this one does.
    """

    id: str
    kind: Literal["image", "volume", "folder", "archive"]
    name: str
    last_used: float
    in_use: bool
    remove: Callable[[], None]
    parts: Mapping[str, int] = field(default_factory=dict)
    needs: frozenset[str] = frozenset()


class Removal(Record):
    """An item that was removed, or would be, with the bytes that only it took."""

    kind: str
    name: str
    freed_bytes: int
    last_used: float
    error: str = ""


class PruneReport(Record):
    """Bytes before and after, what was removed between, and the names that are in use."""

    budget_bytes: int
    before_bytes: int
    after_bytes: int
    removed: tuple[Removal, ...]
    kept_in_use: tuple[str, ...]
    dry_run: bool


def parse_size(text: str) -> int:
    """Bytes of `40GB` (decimal) or `40GiB` (binary). Raises ImageError."""
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise ImageError(f"{text!r} is no size: write 40GB, 500MB or 40GiB")
    factor = _UNITS[match[2].upper()]
    if match[3]:
        factor = 1024 ** (["", "K", "M", "G", "T"].index(match[2].upper()))
    return int(float(match[1]) * factor)


def prune(
    collect: Callable[[], tuple[Sequence[Item], Iterable[str]]],
    budget_bytes: int,
    *,
    dry_run: bool = False,
) -> PruneReport:
    """Remove items, least recently used first, until all together fit the budget.

    `collect` gives the items, and the parts that others keep, which free nothing. What is in use,
    or needed by an item that stays, stays. Beginnings of use wait until it is done. An item that
    cannot be removed is reported with its error and counts on.
    """
    with settled(exclusive=True):
        collected, foreign = collect()
        items = {item.id: item for item in collected}
        shared = Counter(part for item in items.values() for part in item.parts)
        shared.update(foreign)
        sizes = {part: size for item in items.values() for part, size in item.parts.items()}
        used = before = sum(sizes.values())
        removed: list[Removal] = []
        left = dict(items)
        for item in _order(items):
            if used <= budget_bytes:
                break
            if item.in_use or any(item.id in other.needs for other in left.values()):
                continue
            freed = sum(size for part, size in item.parts.items() if shared[part] == 1)
            error = ""
            if not dry_run:
                try:
                    item.remove()
                except (ImageError, OSError) as problem:
                    error, freed = str(problem), 0
            if not error:
                shared.subtract(item.parts.keys())
                used -= freed
                del left[item.id]
            removed.append(
                Removal(
                    kind=item.kind,
                    name=item.name,
                    freed_bytes=freed,
                    last_used=item.last_used,
                    error=error,
                )
            )
    return PruneReport(
        budget_bytes=budget_bytes,
        before_bytes=before,
        after_bytes=used,
        removed=tuple(removed),
        kept_in_use=tuple(sorted(item.name for item in left.values() if item.in_use)),
        dry_run=dry_run,
    )


def _order(items: Mapping[str, Item]) -> list[Item]:
    """Least recently used first; what others need counts as used with them, and comes after."""
    used = {key: item.last_used for key, item in items.items()}
    depth = dict.fromkeys(items, 0)
    for _ in range(len(items)):
        before = (dict(used), dict(depth))
        for key, item in items.items():
            for need in item.needs & items.keys():
                used[need] = max(used[need], used[key])
                depth[need] = max(depth[need], depth[key] + 1)
        if before == (used, depth):
            break
    return sorted(items.values(), key=lambda item: (used[item.id], depth[item.id], item.name))
