"""What a teacher's continuations cost, before and after.

Tokens are the teacher's. Source: OmniOPD App. B.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from transformers import AutoTokenizer

from harness.records.base import Record
from harness.records.cache import cache_root
from trainers.data.trajectories import Trajectory
from trainers.engine.config import TrainSettings
from trainers.engine.material import Material
from trainers.methods.omniopd import OmniOPD
from trainers.omniopd.chunks import select_chunks, text_spans
from trainers.omniopd.settings import AnyTextTeacher, Prices
from trainers.omniopd.texts import Answer, Ask
from trainers.serving.models import resolve_model

DECODE_TO_PREFILL = 8.3
SFT_PROMPT, SFT_ANSWER, PAPER_LENGTH = 200, 8_000, 6_340
PAPER_DECODE_FACTOR = 2  # its Table 8 has twice the M·N·C of its own text
_PAPER_ROLLOUTS = 10  # and as many prefills as multiples of these
_ROWS = (
    (5, 10, 50),
    (10, 10, 25),
    (10, 10, 50),
    (10, 10, 100),
    (10, 20, 50),
    (20, 10, 50),
    (10, 20, 100),
)


class Cost(Record):
    """Teacher's tokens of one sample, or of many."""

    prefill: float
    decode: float

    def effort(self, ratio: float = DECODE_TO_PREFILL) -> float:
        """In tokens of prefill; `ratio`: of a decoded token to a prefilled one."""
        return self.prefill + ratio * self.decode

    def usd(self, prices: Prices) -> float:
        """At full price, nothing cached."""
        return (self.prefill * prices.prompt_usd + self.decode * prices.generated_usd) / 1e6


def per_sample(
    chunks: float,
    rollouts: int,
    chunk_tokens: float,
    *,
    prompt: float,
    length: float,
    prefix_caching: bool = True,
) -> Cost:
    """`M·(prompt + L/2)` of prefill and `M·N·C` of decode.

    Without prefix caching each of the N rollouts is prefilled. Source: OmniOPD App. B.
    """
    prefill = chunks * (prompt + length / 2) * (1 if prefix_caching else rollouts)
    return Cost(prefill=prefill, decode=chunks * rollouts * chunk_tokens)


class PaperRow(NamedTuple):
    """A row of OmniOPD's Table 8: the formula, and what the table has."""

    chunks: int
    rollouts: int
    chunk_tokens: int
    formula: Cost
    printed: Cost

    def relative(self, cost: Cost) -> float:
        """To one answer of the teacher that is imitated as a whole."""
        return cost.effort() / Cost(prefill=SFT_PROMPT, decode=SFT_ANSWER).effort()


def paper_rows() -> list[PaperRow]:
    """Table 8 by the formula, and with the factors that reproduce it."""
    found = []
    for chunks, rollouts, size in _ROWS:
        formula = per_sample(chunks, rollouts, size, prompt=SFT_PROMPT, length=PAPER_LENGTH)
        printed = Cost(
            prefill=formula.prefill * rollouts / _PAPER_ROLLOUTS,
            decode=formula.decode * PAPER_DECODE_FACTOR,
        )
        found.append(PaperRow(chunks, rollouts, size, formula, printed))
    return found


class Estimate(Record):
    """What a training will ask its text teacher for.

    samples: trajectories that will be drawn. expected: of their prefixes and chunks as they would
    be at random anchors, every rollout as long as it may be. formula: App. B with the means of
    these samples. ratio: teacher's tokens for one of the student's;
    none: not known, and taken for 1.
    """

    samples: int
    chunks: int
    rollouts: int
    prompt: float
    length: float
    ratio: float | None
    expected: Cost
    formula: Cost


def estimate(settings: TrainSettings, material: Material, tokenizer: Any) -> Estimate:
    """Before anything is paid, from the trajectories alone; no model is loaded.

    tokenizer: the student's. Raises ValueError for another method.
    """
    method = settings.method
    if not isinstance(method, OmniOPD) or settings.text_teacher is None:
        raise ValueError(f"method {method.name} asks no text teacher")
    numbers = dict.fromkeys(
        material.cursor.from_the_start(settings.optimiser.steps * settings.batch.trajectories)
    )
    drawn = [material.trajectories[number] for number in numbers]
    chunks = prefill = decode = 0
    for one in drawn:
        for before, size in _chunks(one, method, tokenizer.all_special_ids):
            chunks += 1
            prefill += before
            decode += method.rollouts * size
    prompt = np.mean([one.turns[0].start for one in drawn])
    length = np.mean([len(one.ids) - one.turns[0].start for one in drawn])
    formula = per_sample(
        method.chunks,
        method.rollouts,
        method.chunk_tokens,
        prompt=float(prompt),
        length=float(length),
    )
    theirs = _tokenizer(settings.text_teacher)
    ratio = None if theirs is None else tokens_ratio(drawn, tokenizer, theirs)
    factor = settings.text_teacher.length_factor
    return Estimate(
        samples=len(drawn),
        chunks=chunks,
        rollouts=method.rollouts,
        prompt=float(prompt),
        length=float(length),
        ratio=ratio,
        expected=Cost(prefill=prefill * (ratio or 1), decode=decode * factor),
        formula=Cost(prefill=len(drawn) * formula.prefill, decode=len(drawn) * formula.decode),
    )


def _tokenizer(teacher: AnyTextTeacher) -> Any:
    """The teacher's, where it can be had."""
    name = teacher.tokenizer or getattr(teacher, "model", None)
    if name is None or (teacher.tokenizer is None and teacher.kind != "local"):
        return None
    folder = resolve_model(name, cache_root() / "models").folder
    return AutoTokenizer.from_pretrained(folder, local_files_only=True)


def _chunks(one: Trajectory, method: OmniOPD, special: Sequence[int]) -> Iterable[tuple[int, int]]:
    """Tokens before each chunk, and in it."""
    scores = np.random.default_rng(int(one.sha256[:16], 16)).random(one.sampled_tokens)
    spans = text_spans(one, np.asarray(special, np.int64))
    for chunk in select_chunks(scores, spans, count=method.chunks, length=method.chunk_tokens):
        yield int(one.positions[chunk.start]), chunk.end - chunk.start


class Measured(Record):
    """What a training's continuations came to, those of killed runs before it included.

    replayed: asks whose answers had been kept. waited: seconds in which the training did nothing
    else. short: continuations of less text than their chunk, though the teacher may not have ended.
    """

    asks: int
    replayed: int
    requests: int
    prefill: int
    cached: int
    decode: int
    waited: float
    teacher_seconds: float
    short: int


def measure(asks: Sequence[Ask], answers: Sequence[Answer], waited: float) -> Measured:
    """The sums over a training's answers, one for each ask."""
    short = [
        len(text) < ask.characters
        for ask, answer in zip(asks, answers, strict=True)
        for text in answer.texts
    ]
    return Measured(
        asks=len(answers),
        replayed=sum(one.replayed for one in answers),
        requests=sum(one.requests for one in answers),
        prefill=sum(one.prompt_tokens for one in answers),
        cached=sum(one.cached_tokens for one in answers),
        decode=sum(one.generated_tokens for one in answers),
        waited=round(waited, 3),
        teacher_seconds=round(sum(one.seconds for one in answers), 3),
        short=sum(short),
    )


def tokens_ratio(
    trajectories: Sequence[Trajectory], mine: Any, theirs: Any, *, sample: int = 64
) -> float:
    """How many of the teacher's tokens the student's are, in the first few trajectories' texts."""
    some = [one.ids.tolist() for one in trajectories[:sample]]
    texts = [mine.decode(ids, clean_up_tokenization_spaces=False) for ids in some]
    counts = [len(theirs(text, add_special_tokens=False)["input_ids"]) for text in texts]
    return sum(counts) / sum(len(ids) for ids in some)


def write_record(path: Path, found: Record) -> None:
    """As JSON, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".draft")
    draft.write_text(found.model_dump_json(indent=1) + "\n", encoding="utf-8")
    draft.replace(path)
