"""The chunks of a trajectory: how likely student and teacher find them, and what else it writes.

Shapes: N sampled tokens of a trajectory, C of a chunk, V vocabulary.
"""

import math
from collections.abc import Sequence
from itertools import groupby
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from harness.records.base import Record
from trainers.data.packing import make_row
from trainers.data.trajectories import Ids, Trajectory
from trainers.engine.networks import Network
from trainers.losses.chunked import over_tokens
from trainers.losses.divergences import log_probs
from trainers.methods.likelihood import chosen, negative_log_likelihood
from trainers.omniopd.chunks import Chunk, select_chunks, text_spans
from trainers.omniopd.posterior import prior
from trainers.omniopd.prompts import Prompts
from trainers.omniopd.similarity import trim
from trainers.omniopd.study.options import StudyOptions
from trainers.segments.local import LocalSegments
from trainers.segments.prefixes import Prefix, keeping_prefix
from trainers.segments.sampling import Place

_CHUNK = 256  # tokens whose logits are held at a time
_TAIL = 16  # tokens that a continuation is decoded behind
_INCOMPLETE = "\ufffd"


class Sample(Record):
    """A chunk of the student's.

    prior: π̄. log_prob: of the chunk's tokens under the teacher, in nats, summed. joined: whether
    the teacher's tokeniser reads text and chunk together as it reads them apart. continuations: as
    they are compared.
    """

    trajectory: str
    group: str
    start: int
    end: int
    entropy: float
    prior: float
    log_prob: float
    teacher_tokens: int
    joined: bool
    text: str
    continuations: tuple[str, ...]


class Samples(Record):
    """Those of a trajectory. left_out: chunks that the teacher cannot take."""

    schema_version: Literal[1] = 1
    samples: tuple[Sample, ...]
    left_out: int


class Reading(NamedTuple):
    """A teacher's tokens, the chunk being those from `start` to `end`."""

    ids: Ids
    start: int
    end: int
    joined: bool


class _Drawn(NamedTuple):
    chunk: Chunk
    entropy: float
    prior: float
    text: str
    reading: Reading


def measure(options: StudyOptions, student: Network, teacher: Network, one: Trajectory) -> Samples:
    """Everything that the study needs of a trajectory."""
    planned = _plan(options, student, teacher, one)
    count = max(options.rollouts)
    found: list[Sample] = []
    fitting = [each for each in planned if _fits(options, teacher, each)]
    for _, several in groupby(fitting, key=lambda each: each.reading.ids.tobytes()):
        group = list(several)
        ids = group[0].reading.ids
        prefix, hidden = _pass(teacher, ids)
        for each in group:
            said = _continuations(options, teacher, one.name, each, prefix, count)
            found.append(
                Sample(
                    trajectory=one.name,
                    group=one.group,
                    start=each.chunk.start,
                    end=each.chunk.end,
                    entropy=each.entropy,
                    prior=each.prior,
                    log_prob=_log_prob(teacher, hidden, each.reading),
                    teacher_tokens=each.reading.end - each.reading.start,
                    joined=each.reading.joined,
                    text=each.text,
                    continuations=tuple(trim(text, len(each.text)) for text in said),
                )
            )
    return Samples(samples=tuple(found), left_out=len(planned) - len(fitting))


def read_apart(tokenizer: Any, before: str, text: str) -> Reading:
    """How a tokeniser reads a chunk behind the text that comes before it.

    Both are read apart, as a teacher does that is asked to continue the first.
    """
    first = tokenizer(before, verbose=False).input_ids
    second = tokenizer(text, add_special_tokens=False, verbose=False).input_ids
    joined = tokenizer(before + text, verbose=False).input_ids == first + second
    return Reading(np.array(first + second, np.int32), len(first), len(first + second), joined)


@torch.no_grad()
def _plan(
    options: StudyOptions, student: Network, teacher: Network, one: Trajectory
) -> list[_Drawn]:
    row = make_row([one]).to(student.head.device)
    measured = over_tokens(
        negative_log_likelihood, [student.projection(row)], row.columns.sampled, chunk=_CHUNK
    )
    entropies = measured["student_entropy"].double().cpu().numpy()
    likelihood = -measured["loss"].double().cpu().numpy()
    scores = entropies
    if options.selection == "uniform":
        digest = int(one.sha256[:16], 16)
        scores = np.random.default_rng([options.seed, digest]).random(len(entropies))
    special = np.asarray(student.tokenizer.all_special_ids, np.int64)
    spans = text_spans(one, special)
    prompts, found = Prompts(student.tokenizer), []
    same = student.tokenizer_sha256 == teacher.tokenizer_sha256
    for chunk in select_chunks(scores, spans, count=options.chunks, length=options.chunk_tokens):
        cut = prompts.of(one, chunk)
        if not cut.text:
            continue
        start, end = (int(one.positions[at]) for at in (chunk.start, chunk.end - 1))
        reading = Reading(one.ids, start, end + 1, True)
        if not same:
            reading = read_apart(teacher.tokenizer, cut.before, cut.text)
        mean = prior(likelihood[chunk.start : chunk.end])
        found.append(_Drawn(chunk, float(entropies[chunk.start]), mean, cut.text, reading))
    return found


def _length(options: StudyOptions, each: _Drawn) -> int:
    """Tokens of a continuation: enough for the chunk by either tokeniser."""
    theirs, mine = each.reading.end - each.reading.start, each.chunk.end - each.chunk.start
    return math.ceil(options.length_factor * max(theirs, mine))


def _fits(options: StudyOptions, teacher: Network, each: _Drawn) -> bool:
    reading = each.reading
    longest = max(len(reading.ids), reading.start + _length(options, each))
    return 0 < reading.start < reading.end and longest <= teacher.longest


@torch.no_grad()
def _pass(teacher: Network, ids: Ids) -> tuple[Prefix, Tensor]:
    """Keys and values, and last hidden states, of a text."""
    tokens = torch.from_numpy(ids).long().to(teacher.head.device)[None]
    with keeping_prefix(teacher) as prefix:
        hidden = teacher.hidden(tokens, torch.arange(tokens.shape[1], device=tokens.device)[None])
    return prefix, hidden


@torch.no_grad()
def _log_prob(teacher: Network, hidden: Tensor, reading: Reading) -> float:
    head = teacher.head[: teacher.vocabulary]
    states = hidden[reading.start - 1 : reading.end - 1].to(head.dtype)
    ids = torch.from_numpy(reading.ids[reading.start : reading.end]).long().to(head.device)
    return float(chosen(log_probs(states @ head.T), ids).double().sum())


def _continuations(
    options: StudyOptions,
    teacher: Network,
    name: str,
    each: _Drawn,
    prefix: Prefix,
    count: int,
) -> list[str]:
    """What the teacher writes in place of a chunk, at temperature 1."""
    reading = each.reading
    unknown = np.full(len(reading.ids), np.nan, np.float32)
    place = Place(Trajectory(name, name, "teacher", reading.ids, (), unknown), reading.start - 1)
    (drawn,) = LocalSegments(teacher).continuations(
        [place], count, _length(options, each), options.seed, kept={name: prefix}
    )
    tail = reading.ids[max(0, reading.start - _TAIL) : reading.start].tolist()
    before = _decode(teacher, tail).rstrip(_INCOMPLETE)
    found: Sequence[list[int]] = [
        ids[:size] for ids, size in zip(drawn.ids.tolist(), drawn.lengths.tolist(), strict=True)
    ]
    return [_decode(teacher, tail + ids)[len(before) :] for ids in found]


def _decode(teacher: Network, ids: list[int]) -> str:
    text: str = teacher.tokenizer.decode(
        ids, skip_special_tokens=True, clean_up_tokenization_spaces=False
    )
    return text
