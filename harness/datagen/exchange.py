"""Whose PI an instance gets as a control: another one's, of any or of another repository."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Literal

from pi_extractors.records import PIRecord, Provenance, SourceName

Across = Literal["instances", "repositories"]


class ExchangeError(ValueError):
    """There is nobody to exchange with; the text says whom."""


def partners(repositories: Mapping[str, str], seed: int, across: Across) -> dict[str, str]:
    """The instance whose PI each instance gets; never its own.

    repositories: of the instances. Every instance gives its PI once, unless one repository has more
    than half of all: then some of the others give theirs more than once. Raises ExchangeError when
    there are no two instances, or repositories.
    """
    kinds = set(repositories if across == "instances" else repositories.values())
    if len(kinds) < 2:
        raise ExchangeError(
            f"to exchange PI across {across} takes two of them, found {', '.join(kinds) or 'none'}"
        )
    order = sorted(repositories, key=lambda one: hashlib.sha256(f"{seed}\0{one}".encode()).digest())
    if across == "repositories":
        order.sort(key=lambda one: repositories[one])
    shift = max(Counter(repositories.values()).values()) if across == "repositories" else 1
    found: dict[str, str] = {}
    for place, one in enumerate(order):
        others = (order[(place + shift + more) % len(order)] for more in range(len(order)))
        found[one] = next(
            other
            for other in others
            if other != one and (across == "instances" or repositories[other] != repositories[one])
        )
    return found


def exchanged(
    records: Iterable[PIRecord], repositories: Mapping[str, str], seed: int, across: Across
) -> list[PIRecord]:
    """Records of the given instances, each with the text of its partner.

    `next_file` is left out: it depends on the edits of the attempt that it is shown to. Raises
    ExchangeError, also for an instance without records.
    """
    own: dict[str, list[PIRecord]] = {}
    for record in records:
        if record.instance_id in repositories and record.source is not SourceName.NEXT_FILE:
            own.setdefault(record.instance_id, []).append(record)
    missing = sorted(repositories.keys() - own.keys())
    if missing:
        raise ExchangeError(f"no PI of {missing[0]} and {len(missing) - 1} more instances")
    given = partners(repositories, seed, across)
    return [
        record.model_copy(update={"instance_id": one, "provenance": _noted(record, across)})
        for one in own
        for record in own[given[one]]
    ]


def _noted(record: PIRecord, across: Across) -> Provenance:
    note = f"of {record.instance_id}: exchanged across {across} as a control"
    return record.provenance.model_copy(update={"notes": (*record.provenance.notes, note)})
