"""A study from its options: models, samples of every trajectory, files."""

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from trainers.data.errors import DataError
from trainers.data.trajectories import Trajectory
from trainers.diagnostics.parts import part_key
from trainers.engine.networks import Network, load_frozen
from trainers.engine.ranks import join_ranks
from trainers.omniopd.study.figures import Estimates
from trainers.omniopd.study.measure import Samples, measure
from trainers.omniopd.study.options import StudyOptions
from trainers.omniopd.study.report import write_report
from trainers.omniopd.study.sources import continued, trajectories

_SAID_SECONDS = 2.0


def study(options: StudyOptions, out: Path) -> Path:
    """Measure what is not measured yet, and write the report; its path.

    Raises DataError, TrainingError, ModelError and OSError, each saying what would mend it.
    """
    device = join_ranks(options.device).device
    student, teacher = (
        load_frozen(each, options.dtype, None, device)
        for each in (options.student, options.teacher)
    )
    found = trajectories(options, student)
    parts = _measure_all(options, student, teacher, found, out)
    samples = [sample for part in parts for sample in part.samples]
    if not samples:
        raise DataError(
            "no chunk to study: the trajectories have no sampled text, or the teacher takes fewer "
            f"tokens than stand before it ({sum(part.left_out for part in parts)} chunks)"
        )
    facts = {
        "student": _facts(student),
        "teacher": _facts(teacher),
        "same_tokeniser": student.tokenizer_sha256 == teacher.tokenizer_sha256,
        "trajectories": sum(bool(part.samples) for part in parts),
        "chunks": len(samples),
        "chunks_left_out": sum(part.left_out for part in parts),
        "chunks_read_differently_in_context": sum(not one.joined for one in samples),
        "mean_student_tokens": sum(one.end - one.start for one in samples) / len(samples),
        "mean_teacher_tokens": sum(one.teacher_tokens for one in samples) / len(samples),
    }
    return write_report(options, Estimates(samples, options.strength), facts, out)


def _measure_all(
    options: StudyOptions,
    student: Network,
    teacher: Network,
    found: Sequence[Trajectory],
    out: Path,
) -> list[Samples]:
    """The samples of every trajectory, those of an earlier start included."""
    folder = out / "parts"
    folder.mkdir(parents=True, exist_ok=True)
    decisive = options.model_dump(
        mode="json",
        include={
            *("chunks", "chunk_tokens", "selection", "length_factor", "dtype", "seed"),
            *({"sampled_tokens"} if options.texts else ()),
        },
    ) | {"count": max(options.rollouts)}
    parts: list[Samples] = []
    began = said = time.monotonic()
    made = 0
    for number, one in enumerate(found, 1):
        models = {"student": _facts(student), "teacher": _facts(teacher)}
        path = folder / f"{part_key(trajectory=one.sha256, options=decisive, **models)}.json"
        part = _kept(path)
        if part is None:
            whole = one if one.turns else continued(options, student, one)
            part = measure(options, student, teacher, whole)
            _write(path, part)
            made += 1
        parts.append(part)
        now = time.monotonic()
        if now - said >= _SAID_SECONDS or number == len(found):
            said = now
            left = (len(found) - number) * (now - began) / max(1, made)
            chunks = sum(len(each.samples) for each in parts)
            print(
                f"trajectory {number}/{len(found)}, {chunks} chunks  about {left:.0f} s left",
                file=sys.stderr,
                flush=True,
            )
    return parts


def _kept(path: Path) -> Samples | None:
    """What was written, or none; a damaged file counts as none, and is written anew."""
    try:
        return Samples.model_validate_json(path.read_bytes())
    except (FileNotFoundError, ValidationError):
        return None


def _write(path: Path, part: Samples) -> None:
    draft = path.with_suffix(".draft")
    draft.write_text(part.model_dump_json(), encoding="utf-8")
    draft.replace(path)


def _facts(network: Network) -> dict[str, Any]:
    return {
        "name": network.name,
        "weights_sha256": network.sha256,
        "tokenizer_sha256": network.tokenizer_sha256,
    }
