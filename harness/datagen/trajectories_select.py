"""Which attempts become SFT rows and preference pairs."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from harness.records import Verdict

NO_TOKENS, DUPLICATE, CONTESTED = "no_exact_tokens", "duplicate", "same_content_other_verdict"
PRIVILEGED = "shown_the_solution"
UNRESOLVED, SURPLUS = "not_resolved", "surplus"
TIMED_OUT, SEVERAL, NO_PARTNER = "timed_out", "several_sequences", "no_partner"


@dataclass(frozen=True)
class Candidate:
    """What selection knows of an attempt. first_prompt: digest of its first prompt's ids."""

    id: str
    instance_id: str
    key: str
    verdict: Verdict
    sequences: int
    first_prompt: str
    privileged: bool = False

    @property
    def resolved(self) -> bool:
        """Whether its patch passed."""
        return self.verdict is Verdict.RESOLVED


@dataclass(frozen=True)
class Selection:
    """Ids of attempts: duplicates with the first of their content, SFT, and pairs."""

    duplicate_of: dict[str, str]
    sft: frozenset[str]
    sft_left_out: Counter[str]
    pairs: tuple[tuple[str, str], ...]
    pairs_left_out: Counter[str]


def select(candidates: Sequence[Candidate], *, per_instance: int, pairs: int) -> Selection:
    """Decide by content: of equal attempts the first stands, and when their verdicts differ none.

    More than `per_instance` resolved attempts, or `pairs` pairs, of an instance are cut to the
    first by digest. A pair is a resolved and an unresolved attempt, each a single sequence, after
    the same first prompt; no attempt is in two pairs. Attempts that were shown the solution are in
    neither, and stand for none that were not.
    """
    first: dict[str, Candidate] = {}
    verdicts: dict[str, set[bool]] = defaultdict(set)
    for one in sorted(candidates, key=lambda one: one.privileged):
        first.setdefault(one.key, one)
        verdicts[one.key].add(one.resolved)
    duplicate_of = {one.id: first[one.key].id for one in candidates if first[one.key] is not one}

    def unfit(one: Candidate) -> str:
        if one.id in duplicate_of:
            return DUPLICATE
        if len(verdicts[one.key]) > 1:
            return CONTESTED
        if one.privileged:
            return PRIVILEGED
        return "" if one.sequences else NO_TOKENS

    sft: set[str] = set()
    sft_left: Counter[str] = Counter()
    made: list[tuple[str, str]] = []
    pairs_left: Counter[str] = Counter()
    ordered = sorted(candidates, key=lambda one: (one.instance_id, one.key))
    for _, group in groupby(ordered, key=lambda one: one.instance_id):
        attempts = list(group)
        taken = 0
        for one in attempts:
            reason = unfit(one) or ("" if one.resolved else UNRESOLVED)
            if not reason and taken == per_instance:
                reason = SURPLUS
            if reason:
                sft_left[reason] += 1
            else:
                sft.add(one.id)
                taken += 1
        found, left = _pairs(attempts, [unfit(one) for one in attempts], pairs)
        made += found
        pairs_left += left
    return Selection(duplicate_of, frozenset(sft), sft_left, tuple(made), pairs_left)


def _pairs(
    attempts: Sequence[Candidate], unfit: Sequence[str], most: int
) -> tuple[list[tuple[str, str]], Counter[str]]:
    left: Counter[str] = Counter()
    sides: dict[str, tuple[list[str], list[str]]] = defaultdict(lambda: ([], []))
    for one, reason in zip(attempts, unfit, strict=True):
        if not reason and one.verdict is Verdict.TIMED_OUT:
            reason = TIMED_OUT
        if not reason and one.sequences > 1:
            reason = SEVERAL
        if reason:
            left[reason] += 1
        else:
            sides[one.first_prompt][0 if one.resolved else 1].append(one.id)
    found = [
        pair for chosen, rejected in sides.values() for pair in zip(chosen, rejected, strict=False)
    ]
    left[SURPLUS] += 2 * len(found[most:])
    left[NO_PARTNER] += sum(len(a) + len(b) for a, b in sides.values()) - 2 * len(found)
    return found[:most], +left
