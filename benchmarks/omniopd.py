"""OmniOPD's parts, each against what it would cost otherwise, in one run.

`similarity`: pairs of texts a second of each φ, of a chunk and its ten continuations (50 tokens,
about 200 characters), against plain Python and, where they are installed, the usual libraries
(`rouge-score`, `nltk`, `sacrebleu`) on the same texts, cut into words as ours are, and with the
same results. CPU seconds of one thread, the best of three. `teacher_calls`: asks of an endpoint
one by one and side by side. What a step costs over OPD: `python -m benchmarks.step`; the share of
time that a training waited for its teacher: `harness cost FOLDER`.
"""

import argparse
import json
import random
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from itertools import pairwise
from math import exp, sqrt
from pathlib import Path
from typing import Any

from benchmarks.omniopd_teachers import teacher_calls
from trainers.omniopd.similarity import SIMILARITIES, Similarity, words

Score = Callable[[str, str], float]
Result = dict[str, Any]

CONTINUATIONS = 10
CHARACTERS = 200
REPEATS = 3
SLOW_PAIRS = 40  # for what takes milliseconds


def similarity(options: argparse.Namespace) -> Iterator[Result]:
    """A line for each φ and form."""
    texts = [path.read_text(encoding="utf-8") for path in options.texts]
    audits = list(_audits(texts, options.chunks))
    pairs = [(chunk, one) for chunk, several in audits for one in several]
    for name, phi in SIMILARITIES.items():
        ours = _rate(partial(_score_audits, phi, audits), len(pairs))
        expected = [phi(*pair) for pair in pairs]
        yield {"part": "similarity", "phi": name, "form": "ours", "pairs_per_second": round(ours)}
        for form, score in _others(name):
            few = pairs if name != "edit" and form == "plain Python" else pairs[:SLOW_PAIRS]
            rate = _rate(partial(_score_pairs, score, few), len(few))
            found = _score_pairs(score, few)
            yield {
                "part": "similarity",
                "phi": name,
                "form": form,
                "pairs_per_second": round(rate),
                "ours_is_faster_by": round(ours / rate, 1),
                "largest_difference": max(
                    abs(a - b) for a, b in zip(found, expected, strict=False)
                ),
            }


def _audits(texts: Sequence[str], count: int) -> Iterator[tuple[str, list[str]]]:
    """Chunks, each with continuations between almost the same and something else."""
    drawn = random.Random(0)
    whole = "\n".join(texts)
    for _ in range(count):
        start = drawn.randrange(len(whole) - CHARACTERS)
        chunk = whole[start : start + CHARACTERS]
        said = []
        for number in range(CONTINUATIONS):
            other = drawn.randrange(len(whole) - CHARACTERS)
            cut = CHARACTERS * number // CONTINUATIONS
            said.append(chunk[:cut] + whole[other : other + CHARACTERS - cut])
        yield chunk, said


def _score_audits(phi: Similarity[Any], audits: Sequence[tuple[str, list[str]]]) -> object:
    return [phi.all(chunk, said) for chunk, said in audits]


def _score_pairs(score: Score, pairs: Sequence[tuple[str, str]]) -> list[float]:
    return [score(*pair) for pair in pairs]


def _rate(work: Callable[[], object], pairs: int) -> float:
    best = float("inf")
    for _ in range(REPEATS):
        began = time.process_time()
        work()
        best = min(best, time.process_time() - began)
    return pairs / best


def _others(name: str) -> Iterator[tuple[str, Score]]:
    yield "plain Python", PLAIN[name]
    for library, make in LIBRARIES.get(name, {}).items():
        if find_spec(library.replace("-", "_")) is not None:
            yield library, make(name)


def _plain_edit(a: str, b: str) -> float:
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        corner, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            corner, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, corner + (x != y))
    return 1 - row[-1] / max(len(a), len(b))


def _plain_rouge_l(a: str, b: str) -> float:
    one, other = words(a), words(b)
    row = [0] * (len(other) + 1)
    for x in one:
        corner = 0
        for j, y in enumerate(other, 1):
            corner, row[j] = row[j], corner + 1 if x == y else max(row[j], row[j - 1])
    return 2 * row[-1] / (len(one) + len(other))


def _common(one: Sequence[object], other: Sequence[object]) -> int:
    return sum(min(one.count(each), other.count(each)) for each in set(one))


def _plain_rouge_1(a: str, b: str) -> float:
    one, other = words(a), words(b)
    return 2 * _common(one, other) / (len(one) + len(other))


def _plain_jaccard(a: str, b: str) -> float:
    one, other = words(a), words(b)
    both = [each for each in set(one) if each in other]
    return len(both) / len(set(one + other))


def _plain_bleu_1(a: str, b: str) -> float:
    one, other = words(a), words(b)
    return _common(one, other) / len(other) * min(1.0, exp(1 - len(one) / len(other)))


def _plain_bleu_2(a: str, b: str) -> float:
    one, other = words(a), words(b)
    pairs = _common(list(pairwise(one)), list(pairwise(other))) / (len(other) - 1)
    singles = _common(one, other) / len(other)
    return sqrt(pairs * singles) * min(1.0, exp(1 - len(one) / len(other)))


PLAIN: dict[str, Score] = {
    "edit": _plain_edit,
    "rouge_1": _plain_rouge_1,
    "rouge_l": _plain_rouge_l,
    "jaccard": _plain_jaccard,
    "bleu_1": _plain_bleu_1,
    "bleu_2": _plain_bleu_2,
    "exact": lambda a, b: float(a == b),
}


class _Words:
    def tokenize(self, text: str) -> list[str]:
        return words(text)


def _rouge_score(name: str) -> Score:
    key = {"rouge_1": "rouge1", "rouge_l": "rougeL"}[name]
    scorer: Any = import_module("rouge_score.rouge_scorer").RougeScorer([key], tokenizer=_Words())
    return lambda a, b: float(scorer.score(a, b)[key].fmeasure)


def _sacrebleu(name: str) -> Score:
    metric: Any = import_module("sacrebleu.metrics").BLEU(
        max_ngram_order=int(name[-1]), smooth_method="none", effective_order=True, tokenize="none"
    )

    def score(a: str, b: str) -> float:
        found = metric.sentence_score(" ".join(words(b)), [" ".join(words(a))])
        return float(found.score) / 100

    return score


def _nltk(name: str) -> Score:
    distance: Any = import_module("nltk.metrics.distance")
    if name == "edit":
        return lambda a, b: 1 - float(distance.edit_distance(a, b)) / max(len(a), len(b))
    return lambda a, b: 1 - float(distance.jaccard_distance(set(words(a)), set(words(b))))


LIBRARIES: dict[str, dict[str, Callable[[str], Score]]] = {
    "edit": {"nltk": _nltk},
    "rouge_1": {"rouge-score": _rouge_score},
    "rouge_l": {"rouge-score": _rouge_score},
    "jaccard": {"nltk": _nltk},
    "bleu_1": {"sacrebleu": _sacrebleu},
    "bleu_2": {"sacrebleu": _sacrebleu},
}
PARTS: dict[str, Callable[[argparse.Namespace], Iterator[Result]]] = {
    "similarity": similarity,
    "teacher_calls": lambda _: teacher_calls(),
}


def main() -> None:
    """Print a line of JSON for each measurement."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--chunks", type=int, default=200, help="of the similarity part")
    parser.add_argument("--texts", type=Path, nargs="+", default=[Path("README.md")])
    options = parser.parse_args()
    for part in options.parts:
        for result in PARTS[part](options):
            print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
