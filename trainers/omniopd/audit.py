"""Audits: a trajectory's uncertain chunks, and how likely a text teacher would have written them.

Made once, before the first step, from the student as it was when it sampled; kept in one file.
Shapes: N sampled tokens of a trajectory, C of a chunk of logits, V the vocabulary.
"""

import json
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray
from torch import Tensor

from trainers.data.errors import DataError
from trainers.data.packing import make_row, pack
from trainers.data.trajectories import Trajectory
from trainers.engine.errors import TeacherError
from trainers.losses.chunked import Source, over_tokens
from trainers.losses.divergences import entropy, log_probs
from trainers.methods.base import Beginning, Role
from trainers.methods.likelihood import chosen
from trainers.omniopd.chunks import Chunk, select_chunks, text_spans
from trainers.omniopd.cost import Measured, measure, write_record
from trainers.omniopd.posterior import posterior, prior
from trainers.omniopd.prompts import ChunkText
from trainers.omniopd.similarity import SIMILARITIES, trim
from trainers.omniopd.texts import Answer, Ask

if TYPE_CHECKING:
    from trainers.methods.omniopd import OmniOPD

_POLL_SECONDS = 1.0
_SCHEMA = pa.schema(
    {
        "trajectory": pa.string(),
        "start": pa.int32(),
        "end": pa.int32(),
        "entropy": pa.float64(),
        "prior": pa.float64(),
        "evidence": pa.float64(),
        "rollouts": pa.int32(),
        "target": pa.float64(),
        "text": pa.string(),
        "continuations": pa.list_(pa.string()),
    }
)


class Audit(NamedTuple):
    """A chunk of a trajectory and the teacher's verdict on it.

    entropy: of the student at the anchor, in nats. evidence: k, the sum of similarities of
    as many continuations as `rollouts` says. target: π̂. continuations: as they were compared.
    """

    trajectory: str
    start: int
    end: int
    entropy: float
    prior: float
    evidence: float
    rollouts: int
    target: float
    text: str
    continuations: tuple[str, ...]


class Planned(NamedTuple):
    """A chunk that is to be audited."""

    trajectory: Trajectory
    chunk: Chunk
    entropy: float
    prior: float
    text: ChunkText


def audits(method: "OmniOPD", out: Path, work: Beginning) -> dict[str, list[Audit]]:
    """The audits of all trajectories that will be drawn, by trajectory.

    The first process asks the teacher and writes `audits.parquet`; others wait for it. Raises
    DataError where there is nothing to audit, and TeacherError; answers that came are kept, and the
    same command goes on with the rest.
    """
    path = out / "audits.parquet"
    if not path.exists() and work.first:
        if work.text_teacher is not None:
            work.text_teacher.check([])  # a wrong name or key shows before the student is asked
        planned = list(plan(method, work))
        if not planned:
            raise DataError(
                f"the {len(work.drawn)} trajectories of this training have no text that could be "
                "audited: every sampled token is a control token, or part of a character"
            )
        found, cost = ask(method, planned, work)
        write_record(out / "cost" / "measured.json", cost)
        write_audits(path, found, work.text_teacher.identity if work.text_teacher else {})
    while not path.exists():
        time.sleep(_POLL_SECONDS)
    by_trajectory: dict[str, list[Audit]] = {}
    for row in pq.read_table(path).to_pylist():
        audit = Audit(**{**row, "continuations": tuple(row["continuations"])})
        by_trajectory.setdefault(audit.trajectory, []).append(audit)
    return by_trajectory


def plan(method: "OmniOPD", work: Beginning) -> Iterator[Planned]:
    """The chunks of the drawn trajectories, as the student and its tokeniser have them."""
    if work.prompts is None:
        raise ValueError("this training has no text teacher")
    special = np.asarray(work.network.tokenizer.all_special_ids, np.int64)
    for one, (entropies, priors) in _student(method, work):
        scores = entropies
        if method.selection == "uniform":
            digest = int(one.sha256[:16], 16)
            scores = np.random.default_rng([work.seed, digest]).random(len(entropies))
        spans = text_spans(one, special)
        chosen = select_chunks(scores, spans, count=method.chunks, length=method.chunk_tokens)
        for chunk in chosen:
            text = work.prompts.of(one, chunk)
            if text.text:
                probability = prior(priors[chunk.start : chunk.end])
                yield Planned(one, chunk, float(entropies[chunk.start]), probability, text)


def _student(
    method: "OmniOPD", work: Beginning
) -> Iterator[tuple[Trajectory, tuple[NDArray[np.float64], NDArray[np.float64]]]]:
    """Entropies and log-probabilities of the sampled tokens, `(N,)` each."""
    network, chunk = work.network, work.chunk
    training = network.training
    network.eval()
    try:
        for part in pack(work.drawn, work.row_tokens):
            row = make_row(part).to(network.head.device)
            with torch.no_grad():
                student = _measures(network.projection(row), row.columns.sampled, chunk)
                likelihood = student["log_p"]
                if method.prior == "reference":
                    source = work.teachers[Role.REFERENCE].project(part)
                    likelihood = _measures(source, row.columns.sampled, chunk)["log_p"]
                else:
                    recorded = row.columns.recorded
                    likelihood = torch.where(recorded.isnan(), likelihood, recorded)
            for number, one in enumerate(part):
                mine = row.columns.trajectory == number
                yield one, (_array(student["entropy"][mine]), _array(likelihood[mine]))
    finally:
        network.train(training)


def _measures(source: Source, sampled: Tensor, chunk: int) -> dict[str, Tensor]:
    def body(logits: Tensor, ids: Tensor) -> Mapping[str, Tensor]:
        log_p = log_probs(logits)
        return {"entropy": entropy(log_p), "log_p": chosen(log_p, ids)}

    return over_tokens(body, [source], sampled, chunk=chunk)


def ask(
    method: "OmniOPD", planned: Sequence[Planned], work: Beginning
) -> tuple[list[Audit], Measured]:
    """The teacher's verdicts, in the order of the plan, and what they cost."""
    if work.text_teacher is None:
        raise ValueError("this training has no text teacher")
    asks = [
        Ask(one.text.messages, one.text.before, len(one.text.text), one.chunk.end - one.chunk.start)
        for one in planned
    ]
    answers: dict[int, Answer] = {}
    began = time.monotonic()
    work.text_teacher.check(asks)
    for number, answer in work.text_teacher.continuations(asks, method.rollouts, work.seed):
        answers[number] = answer
        _progress(len(answers), len(asks), time.monotonic() - began)
    if missing := [number for number in range(len(asks)) if number not in answers]:
        raise TeacherError(
            f"the text teacher left {len(missing)} of {len(asks)} chunks without an answer; the "
            "same command goes on with these"
        )
    given = [answers[number] for number in range(len(asks))]
    cost = measure(asks, given, time.monotonic() - began)
    return [_verdict(method, *each) for each in zip(planned, given, strict=True)], cost


def _verdict(method: "OmniOPD", planned: Planned, answer: Answer) -> Audit:
    chunk, text = planned.chunk, planned.text.text
    compared = tuple(trim(one, len(text)) for one in answer.texts)
    evidence = sum(SIMILARITIES[method.similarity].all(text, compared))
    target = posterior(evidence, len(compared), planned.prior, method.prior_strength)
    return Audit(
        planned.trajectory.name,
        *chunk,
        planned.entropy,
        planned.prior,
        evidence,
        len(compared),
        float(target),
        text,
        compared,
    )


def write_audits(path: Path, found: Sequence[Audit], teacher: Mapping[str, str]) -> None:
    """Keep audits in a Parquet file, whole or not at all; who gave them is in its metadata."""
    table = pa.Table.from_pylist([each._asdict() for each in found], schema=_SCHEMA)
    table = table.replace_schema_metadata({"teacher": json.dumps(teacher)})
    draft = path.with_suffix(".draft")
    pq.write_table(table, draft)
    draft.replace(path)


def _array(values: Tensor) -> NDArray[np.float64]:
    return values.double().cpu().numpy()


def _progress(done: int, total: int, seconds: float) -> None:
    if done == total or done % max(1, total // 20) == 0:
        left = seconds / done * (total - done)
        print(f"audits {done}/{total}  {left:.0f} s left", file=sys.stderr, flush=True)
