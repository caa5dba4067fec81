"""Code n-grams: those that only a patch brings, and where a text has them."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from itertools import repeat
from typing import Any

import numpy as np
from numpy.typing import NDArray

N = 8  # tokens of an n-gram
SHORT = 3  # tokens by which a writer is known to have written an n-gram
_WORDS = 3  # of an n-gram, at least: the others may be punctuation
_MAX_TOKENS = 200_000  # of one patch

Ngram = tuple[str, ...]

_TOKEN = re.compile(r"\w+|[^\w\s]")
_ESCAPED_SPACE = re.compile(r"\\+[nrt]")
_ESCAPED = re.compile(r"\\+([\"'/])")
_LINE_START = re.compile(r"^(?:[ \t]*\d+(?:\t|:|\|))?[+-]?", re.MULTILINE)


def tokens(text: str) -> list[str]:
    """Identifiers, numbers and single marks; not line numbers, diff marks or escapes."""
    if "\\" in text:
        text = _ESCAPED.sub(r"\1", _ESCAPED_SPACE.sub("\n", text))
    return _TOKEN.findall(_LINE_START.sub("", text))


def grams(words: Sequence[str], n: int) -> Iterator[Ngram]:
    """All runs of n tokens, in order."""
    return zip(*(words[start:] for start in range(n)), strict=False)


@dataclass(frozen=True)
class Oracle:
    """The n-grams of one oracle text that a reader could have from nowhere else."""

    instance_id: str
    field: str
    marks: Mapping[Ngram, frozenset[Ngram]]
    """All n-grams, with their short n-grams that are in no text known before."""
    shapes: tuple[frozenset[Ngram], ...]
    """The n-grams of each shape in which the text may be met: new file, and diff."""

    def share(self, found: Iterable[Ngram]) -> float:
        """The share of the n-grams that was found, in the shape where it is largest."""
        there = frozenset(found)
        return max((len(one & there) / len(one) for one in self.shapes if one), default=0.0)


def oracle(instance_id: str, field: str, diff: str, *, known: Iterable[str]) -> Oracle:
    """The n-grams that a unified diff adds: as the new file has them, and as the diff shows them.

    Left out are those all of whose short n-grams are in the diff's old lines or in a known text,
    and those of punctuation. Raises ExtractionError for text that is no unified diff.
    """
    from pi_extractors.diffs import parse_diff

    old: set[Ngram] = set()
    for text in known:
        old.update(grams(tokens(text), SHORT))
    new, shown = [], []  # per hunk: its tokens, and which of them are added
    room = _MAX_TOKENS
    for file in parse_diff(diff, f"{instance_id}: {field}"):
        for hunk in file:
            lines = [(tokens(line.value), line) for line in hunk]
            room -= sum(len(words) for words, _ in lines)
            if room < 0:
                break
            before = [word for words, line in lines if not line.is_added for word in words]
            old.update(grams(before, SHORT))
            new.append([(words, line.is_added) for words, line in lines if not line.is_removed])
            shown.append([(words, line.is_added) for words, line in lines])
    marks: dict[Ngram, frozenset[Ngram]] = {}
    shapes = tuple(frozenset(_added(hunks, old, marks)) for hunks in (new, shown))
    return Oracle(instance_id, field, marks, shapes)


def plain(instance_id: str, text: str, *, field: str) -> Oracle:
    """All n-grams of a text but those of punctuation; without marks of who wrote them."""
    marks = {g: frozenset[Ngram]() for g in grams(tokens(text), N) if _says_something(g)}
    return Oracle(instance_id, field, marks, (frozenset(marks),))


def _says_something(gram: Ngram) -> bool:
    return sum(word[0].isalpha() or word[0] == "_" for word in gram) >= _WORDS


def _added(
    hunks: Iterable[list[tuple[list[str], bool]]],
    old: Set[Ngram],
    marks: dict[Ngram, frozenset[Ngram]],
) -> Iterator[Ngram]:
    """The n-grams with an added token and something not known before, which `marks` gets."""
    for hunk in hunks:
        words = [word for line, _ in hunk for word in line]
        added = [is_added for line, is_added in hunk for _ in line]
        for start, gram in enumerate(grams(words, N)):
            if not any(added[start : start + N]):
                continue
            own = marks.get(gram) or frozenset(grams(gram, SHORT)) - old
            if own and _says_something(gram):
                marks[gram] = own
                yield gram


class Index:
    """Finds the n-grams of several oracles in a text, all at once.

    Where oracles share an n-gram, the first one says what marks it.
    """

    def __init__(self, oracles: Iterable[Oracle]) -> None:
        self.marks: dict[Ngram, frozenset[Ngram]] = {}
        for one in oracles:
            for gram, marks in one.marks.items():
                self.marks.setdefault(gram, marks)
        self._short_known = frozenset().union(*self.marks.values())
        words = sorted({word for gram in self.marks for word in gram})
        self._ids = {word: number for number, word in enumerate(words, start=1)}
        self._long = self._table(self.marks, N)
        self._short = self._table(self._short_known, SHORT)

    def find(self, words: Sequence[str]) -> list[Ngram]:
        """The n-grams that some oracle has, each once, in order of their first place."""
        return self._find(words, N, self._long, self.marks)

    def find_short(self, words: Sequence[str]) -> list[Ngram]:
        """The short n-grams that mark some oracle's n-grams."""
        return self._find(words, SHORT, self._short, self._short_known)

    def _find(
        self, words: Sequence[str], n: int, table: NDArray[np.uint64], known: Any
    ) -> list[Ngram]:
        hashes, places = self._hashes(words, n)
        at = np.searchsorted(table, hashes)
        hit = places[table[np.minimum(at, len(table) - 1)] == hashes] if len(table) else places[:0]
        found = dict.fromkeys(tuple(words[place : place + n]) for place in hit.tolist())
        return [gram for gram in found if gram in known]

    def _table(self, known: Iterable[Ngram], n: int) -> NDArray[np.uint64]:
        hashes = [self._hashes(gram, n)[0] for gram in known]
        return np.unique(np.concatenate(hashes)) if hashes else np.empty(0, np.uint64)

    def _hashes(self, words: Sequence[str], n: int) -> tuple[NDArray[np.uint64], NDArray[np.intp]]:
        """Hashes of the runs of n tokens that all occur in some oracle, and where they start."""
        ids = np.fromiter(map(self._ids.get, words, repeat(0)), np.uint64, len(words))
        runs = len(words) - n + 1
        if runs < 1:
            return np.empty(0, np.uint64), np.empty(0, np.intp)
        unknown = np.concatenate(([0], np.cumsum(ids == 0)))
        places = np.flatnonzero(unknown[n:] == unknown[:-n])
        mixed = ids * np.uint64(0x9E3779B97F4A7C15)
        mixed ^= mixed >> np.uint64(29)
        hashes = np.zeros(len(places), np.uint64)
        for offset in range(n):
            hashes = hashes * np.uint64(0xD6E8FEB86659FD93) + mixed[places + offset]
        return hashes, places
