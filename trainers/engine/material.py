"""The data of a training: read, prepared for the method, and in the order they are drawn."""

import fnmatch
import hashlib
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from transformers import AutoTokenizer

from harness.records.cache import cache_root
from trainers.data.errors import DataError
from trainers.data.order import Cursor
from trainers.data.runs import RunData, read_runs
from trainers.data.trajectories import Trajectory
from trainers.data.triples import Triples, read_triples
from trainers.engine.config import TrainSettings
from trainers.methods.adapters import Adapters
from trainers.serving.models import resolve_model

_CLOSE = 0.01  # of the share of triples without PI; of few triples, one more or less


@dataclass(frozen=True)
class Material:
    """The trajectories of a training, the student's first, and what was left out.

    triples: where they come from, by file, when they are triples. source: their PI source, or
    several.
    """

    data: RunData
    trajectories: list[Trajectory]
    cursor: Cursor
    sha256: str
    triples: dict[str, dict[str, Any]] = field(default_factory=dict)
    source: str | None = None


def gather_material(settings: TrainSettings) -> Material:
    """Read runs or triples and prepare them for the method. Raises DataError."""
    if isinstance(settings.method, Adapters):
        return _from_triples(settings, settings.method)
    data = RunData()
    read = [
        read_runs(settings.data.student_runs, "student", max_tokens=settings.data.max_tokens),
        read_runs(settings.data.teacher_runs, "teacher", max_tokens=settings.data.max_tokens),
    ]
    for part in read:
        data.trajectories += part.trajectories
        data.counts += part.counts
        data.tokenizers |= part.tokenizers
    data.trajectories = _kept(data.trajectories, settings.data.leave_out, data.counts)
    if not data.trajectories:
        left_out = ", ".join(f"{number} {what}" for what, number in sorted(data.counts.items()))
        paths = settings.data.student_runs + settings.data.teacher_runs
        given = ", ".join(str(path) for path in paths)
        raise DataError(f"no trajectory with sampled tokens in {given} ({left_out or 'empty'})")
    share = settings.method.share
    used = [one for one in data.trajectories if share is None or _used(one, share)]
    prepared = settings.method.prepare(used)
    mine = [one for one in prepared if one.author == "student"]
    theirs = [one for one in prepared if one.author == "teacher"]
    if share is None:
        share = len(mine) / len(prepared)
    for author, wanted, found in (("student", share > 0, mine), ("teacher", share < 1, theirs)):
        if wanted and not found:
            raise DataError(
                f"method {settings.method.name} trains on trajectories of the {author}, and there "
                f"is none: give runs in data.{author}_runs"
            )
    cursor = Cursor(len(mine), len(theirs), student_share=share, seed=settings.seed)
    return Material(data, mine + theirs, cursor, _digest(mine + theirs))


def _from_triples(settings: TrainSettings, method: Adapters) -> Material:
    model = resolve_model(settings.student.model, cache_root() / "models")
    tokenizer = AutoTokenizer.from_pretrained(model.folder, local_files_only=True)
    data = read_triples(
        settings.data.triples,
        tokenizer,
        max_tokens=settings.data.max_tokens,
        empty_block=method.empty_block,
        union=method.union,
    )
    data.trajectories = _kept(data.trajectories, settings.data.leave_out, data.counts)
    _check_triples(settings, method, data)
    trajectories = data.trajectories
    return Material(
        RunData(trajectories, data.counts, data.tokenizers),
        trajectories,
        Cursor(0, len(trajectories), student_share=0, seed=settings.seed),
        _digest(trajectories),
        data.files,
        "+".join(sorted(data.sources)),
    )


def _check_triples(settings: TrainSettings, method: Adapters, data: Triples) -> None:
    given = ", ".join(str(path) for path in settings.data.triples)
    if not data.trajectories:
        left_out = ", ".join(f"{number} {what}" for what, number in sorted(data.counts.items()))
        raise DataError(f"no triple in {given} ({left_out or 'empty'})")
    if settings.student.adapter is not None and len(data.sources) > 1 and not method.union:
        raise DataError(
            f"{given}: triples of {', '.join(sorted(data.sources))}, but an adapter is of one PI "
            "source: train one after the other, each with its own data.triples and out, or set "
            "method.union"
        )
    wanted = method.empty_share
    if wanted is not None and abs(data.empty_share - wanted) > max(_CLOSE, 1 / data.rows):
        raise DataError(
            f"{given}: {data.empty_share:.1%} of the triples have no PI, not {wanted:.0%}: make "
            f"them with `--empty-share {wanted}`, or set method.empty_share (null: any share)"
        )


def _kept(
    trajectories: list[Trajectory], leave_out: tuple[str, ...], counts: Counter[str]
) -> list[Trajectory]:
    """Those of instances that no pattern names. Raises DataError for a pattern that names none."""
    groups = {one.group for one in trajectories}
    named: set[str] = set()
    for pattern in leave_out:
        matched = set(fnmatch.filter(groups, pattern))
        if not matched:
            raise DataError(
                f"data.leave_out: {pattern!r} is no instance of the {len(groups)} in the data"
            )
        named |= matched
    kept = [one for one in trajectories if one.group not in named]
    if named:
        counts["sequences left out: data.leave_out"] += len(trajectories) - len(kept)
    return kept


def _used(one: Trajectory, share: float) -> bool:
    return share > 0 if one.author == "student" else share < 1


def _digest(trajectories: list[Trajectory]) -> str:
    digest = hashlib.sha256("".join(one.sha256 for one in trajectories).encode())
    return digest.hexdigest()
