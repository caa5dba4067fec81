"""Some of a suite's instances, by id, repository or number."""

import random
from collections.abc import Iterable, Sequence

from harness.records import Instance
from harness.suites.errors import SuiteError, did_you_mean


def select(
    instances: Sequence[Instance],
    *,
    ids: Sequence[str] = (),
    repos: Sequence[str] = (),
    limit: int | None = None,
    seed: int | None = None,
) -> tuple[Instance, ...]:
    """Instances that have one of `ids` and one of `repos` (empty: any), in the given order.

    `limit` keeps the first so many, or with a `seed` a random sample that is the same on every
    machine. Raises SuiteError for an unknown id or repository (naming the nearest), a limit
    below 1, or an empty selection.
    """
    _require_known("instance", ids, (one.instance_id for one in instances))
    _require_known("repository", repos, (one.repo for one in instances))
    chosen = [
        one
        for one in instances
        if (not ids or one.instance_id in ids) and (not repos or one.repo in repos)
    ]
    if not chosen:
        raise SuiteError("no instance has one of these ids and one of these repositories")
    if limit is not None and limit < 1:
        raise SuiteError(f"limit is {limit}; it must be at least 1")
    if limit is None or limit >= len(chosen):
        return tuple(chosen)
    if seed is None:
        return tuple(chosen[:limit])
    positions = random.Random(seed).sample(range(len(chosen)), limit)  # noqa: S311
    return tuple(chosen[position] for position in sorted(positions))


def _require_known(kind: str, asked: Iterable[str], known: Iterable[str]) -> None:
    names = set(known)
    unknown = [f"{one!r}{did_you_mean(one, names)}" for one in asked if one not in names]
    if unknown:
        raise SuiteError(f"unknown {kind}: " + " ".join(unknown))
