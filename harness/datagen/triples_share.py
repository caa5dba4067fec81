"""Which rows have no PI, so that exactly the wanted share has none."""

import hashlib
from collections.abc import Mapping
from enum import StrEnum
from fractions import Fraction


class Share(StrEnum):
    """What becomes of a row."""

    GIVEN = "given"
    EMPTY = "empty"  # the source has nothing in this state
    BLANKED = "blanked"  # taken away
    SURPLUS = "surplus"  # dropped: more rows than the share have nothing


def empty_count(rows: int, share: float) -> int:
    """How many of so many rows have no PI: the share of them, rounded half up."""
    return int(Fraction(str(share)) * rows + Fraction(1, 2))


def assign(empty: Mapping[str, bool], share: float, salt: str) -> dict[str, Share]:
    """Decide for every row, by its id and whether its PI is empty anyway.

    Rows are blanked, or dropped when too many are empty anyway, in the order of a hash of salt and
    id: the same rows whatever their order.
    """
    ranked = sorted(empty, key=lambda one: hashlib.sha256(f"{salt}\0{one}".encode()).digest())
    natural = [one for one in ranked if empty[one]]
    others = [one for one in ranked if not empty[one]]
    kept = len(natural)
    while kept > empty_count(kept + len(others), share):
        kept -= 1
    blanked = empty_count(kept + len(others), share) - kept
    decided = {one: Share.EMPTY if n < kept else Share.SURPLUS for n, one in enumerate(natural)}
    decided |= {one: Share.BLANKED if n < blanked else Share.GIVEN for n, one in enumerate(others)}
    return decided
