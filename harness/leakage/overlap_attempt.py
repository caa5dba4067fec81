"""Oracle n-grams in one attempt: shown at first, shown later, written, in the final patch."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from harness.leakage.ngrams import Index, Ngram, Oracle, tokens
from harness.leakage.overlap_texts import conversation
from harness.records import decode_patch

MAX_PATCH = 64 * 1024 * 1024


class Channel(StrEnum):
    """Where n-grams are looked for."""

    FIRST = "first_prompt"  # shown before the student wrote anything
    SHOWN = "prompts"  # shown at any time, and not written by the student before
    WRITTEN = "trajectory"
    PATCH = "patch"


@dataclass
class Overlap:
    """What one attempt has of each oracle, by the oracle's number in the index."""

    found: dict[Channel, set[Ngram]] = field(default_factory=lambda: {c: set() for c in Channel})
    places: dict[Ngram, str] = field(default_factory=dict)
    """Where an n-gram was first shown."""
    texts: int = 0

    def share(self, channel: Channel, one: Oracle) -> float:
        """The share of an oracle's n-grams."""
        return one.share(self.found[channel])

    def of(self, channel: Channel, one: Oracle) -> list[Ngram]:
        """The n-grams of an oracle, in its order."""
        return [gram for gram in one.marks if gram in self.found[channel]]


def measure(attempt: Path, index: Index, known: Iterable[Ngram]) -> Overlap:
    """Read an attempt once, for all oracles of an index.

    `known` n-grams (of the issue) count nowhere. An n-gram that is shown counts unless the student
    wrote one of its marks before: part of what only the solution has. Raises ValueError for an
    unreadable file, FileNotFoundError when there is no conversation.
    """
    overlap = Overlap()
    left_out = frozenset(known)
    written: set[Ngram] = set()
    for text in conversation(attempt):
        overlap.texts += 1
        words = tokens(text.text)
        found = [gram for gram in index.find(words) if gram not in left_out]
        if text.written:
            overlap.found[Channel.WRITTEN].update(found)
            written.update(index.find_short(words))
            continue
        for gram in found:
            if index.marks[gram].isdisjoint(written):
                overlap.found[Channel.SHOWN].add(gram)
                overlap.places.setdefault(gram, text.where)
                if text.first:
                    overlap.found[Channel.FIRST].add(gram)
    patch = attempt / "patch.diff"
    if patch.is_file():
        with patch.open("rb") as file:
            words = tokens(decode_patch(file.read(MAX_PATCH)))
        overlap.found[Channel.PATCH].update(g for g in index.find(words) if g not in left_out)
    return overlap


def baseline(
    overlap: Overlap, channel: Channel, others: Sequence[Oracle], own: Mapping[Ngram, object]
) -> float | None:
    """The mean share of other instances' n-grams, those left out that are the attempt's own too."""
    if not others:
        return None
    foreign = overlap.found[channel] - own.keys()
    return sum(one.share(foreign) for one in others) / len(others)
