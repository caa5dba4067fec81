"""φ: how much alike a student's chunk and a teacher's continuation are, as text, in [0, 1].

Word metrics count words and, one by one, every other character that is no space; characters of
scripts without spaces between words (Chinese, Japanese) also one by one. Case counts. So identical
texts give 1 whatever they are made of. A text without tokens is empty: two of them give 1, one of
them 0.
"""

import math
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any, Generic, Literal, TypeVar

import numpy as np
from rapidfuzz.distance import Indel, Levenshtein
from rapidfuzz.process import cdist

SimilarityName = Literal["edit", "rouge_1", "rouge_l", "jaccard", "bleu_1", "bleu_2", "exact"]

_WITHOUT_SPACES = "\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff66-\uff9f"
_WITHOUT_SPACES += "\U00020000-\U0003ffff"
_TOKEN = re.compile(rf"[{_WITHOUT_SPACES}]|[^\W{_WITHOUT_SPACES}]+|[^\w\s]")
_INCOMPLETE = "\ufffd"  # what a decoder makes of a character whose last bytes are missing

T = TypeVar("T")


@dataclass(frozen=True)
class Similarity(Generic[T]):
    """A function of two texts that prepares each of them once.

    prepare: a text. scores: of a prepared chunk and prepared continuations.
    """

    prepare: Callable[[str], T]
    scores: Callable[[T, Sequence[T]], list[float]]

    def __call__(self, chunk: str, continuation: str) -> float:
        """φ of one pair."""
        return self.all(chunk, [continuation])[0]

    def all(self, chunk: str, continuations: Sequence[str]) -> list[float]:
        """φ of a chunk and each of its continuations."""
        return self.scores(self.prepare(chunk), [self.prepare(one) for one in continuations])


def trim(continuation: str, characters: int) -> str:
    """What of a continuation is compared with a chunk of so many characters.

    U+FFFD at its end stands for a character that the last token began, and is left out; a
    tokeniser may have one for each byte.
    """
    return continuation.rstrip(_INCOMPLETE)[:characters]


def words(text: str) -> list[str]:
    """The tokens that word metrics count."""
    return _TOKEN.findall(text)


class _Counts:
    """Tokens of a text and pairs of neighbours, each with how often it is there."""

    def __init__(self, text: str) -> None:
        tokens = words(text)
        self.ones = Counter(tokens)
        self.length = len(tokens)
        self._tokens = tokens

    @cached_property
    def pairs(self) -> Counter[tuple[str, str]]:
        return Counter(pairwise(self._tokens))


def _as_it_is(text: str) -> str:
    return text


def _edit(chunk: str, continuations: Sequence[str]) -> list[float]:
    """`1 - d / max(|a|, |b|)` of the edit distance d in characters."""
    return _matrix([chunk], continuations, Levenshtein.normalized_similarity)


def _rouge_l(chunk: list[str], continuations: Sequence[list[str]]) -> list[float]:
    """F1 of the longest common subsequence: `2·LCS / (|a| + |b|)`."""
    return _matrix([chunk], continuations, Indel.normalized_similarity)


def _matrix(
    chunk: Sequence[Sequence[str]],
    continuations: Sequence[Sequence[str]],
    scorer: Callable[..., float],
) -> list[float]:
    found: list[float] = cdist(chunk, continuations, scorer=scorer, dtype=np.float64)[0].tolist()
    return found


def _rouge_1(chunk: _Counts, continuation: _Counts) -> float:
    """F1 of the tokens that both have."""
    return 2 * _common(chunk.ones, continuation.ones) / (chunk.length + continuation.length)


def _jaccard(chunk: set[str], continuation: set[str]) -> float:
    """Distinct tokens that both have, of those that either has."""
    return len(chunk & continuation) / len(chunk | continuation)


def _bleu_1(chunk: _Counts, continuation: _Counts) -> float:
    """Share of the continuation's tokens that the chunk has, and the penalty for brevity."""
    found = _common(chunk.ones, continuation.ones) / continuation.length
    return found * _brevity(chunk, continuation)


def _bleu_2(chunk: _Counts, continuation: _Counts) -> float:
    """Geometric mean of the shares of tokens and of pairs; tokens alone for a single token."""
    if continuation.length == 1:
        return _bleu_1(chunk, continuation)
    pairs = _common(chunk.pairs, continuation.pairs) / (continuation.length - 1)
    ones = _common(chunk.ones, continuation.ones) / continuation.length
    return math.sqrt(ones * pairs) * _brevity(chunk, continuation)


def _brevity(chunk: _Counts, continuation: _Counts) -> float:
    return math.exp(min(0.0, 1 - chunk.length / continuation.length))


def _common(one: Counter[T], other: Counter[T]) -> int:
    return sum(min(count, other.get(token, 0)) for token, count in one.items())


def _exact(chunk: str, continuations: Sequence[str]) -> list[float]:
    return [float(chunk == one) for one in continuations]


def _each(
    compare: Callable[[T, T], float], empty: Callable[[T], bool]
) -> Callable[[T, Sequence[T]], list[float]]:
    """`compare` of each continuation, where neither text is empty."""

    def score(chunk: T, continuation: T) -> float:
        if empty(chunk) or empty(continuation):
            return float(empty(chunk) and empty(continuation))
        return compare(chunk, continuation)

    return lambda chunk, continuations: [score(chunk, one) for one in continuations]


def _of_counts(compare: Callable[[_Counts, _Counts], float]) -> Similarity[_Counts]:
    return Similarity(_Counts, _each(compare, lambda counts: not counts.length))


# Source: OmniOPD Eq. 3 and Table 3; Lin 2004 for ROUGE (F1), Papineni et al. 2002 for BLEU, of one
# pair, without smoothing, with the chunk as reference.
SIMILARITIES: dict[SimilarityName, Similarity[Any]] = {
    "edit": Similarity(_as_it_is, _edit),
    "rouge_1": _of_counts(_rouge_1),
    "rouge_l": Similarity(words, _rouge_l),
    "jaccard": Similarity(lambda text: set(words(text)), _each(_jaccard, lambda some: not some)),
    "bleu_1": _of_counts(_bleu_1),
    "bleu_2": _of_counts(_bleu_2),
    "exact": Similarity(_as_it_is, _exact),
}
