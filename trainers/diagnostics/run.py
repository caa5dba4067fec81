"""A diagnosis from a subject and its options: models, measurements, figures, files."""

import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainers.data.errors import DataError
from trainers.data.runs import RunData, read_runs
from trainers.data.trajectories import Trajectory
from trainers.diagnostics.alignment import reference_states
from trainers.diagnostics.files import read_outcomes, read_returns
from trainers.diagnostics.measure import Bench, Rollouts, measure
from trainers.diagnostics.options import DiagnosisOptions
from trainers.diagnostics.parts import Part, Parts, part_key
from trainers.diagnostics.pi_sources import MOST
from trainers.diagnostics.resets import Outcome
from trainers.diagnostics.states import StateQuantities
from trainers.diagnostics.subject import Subject
from trainers.engine.config import TrainSettings
from trainers.engine.networks import load_student
from trainers.engine.ranks import join_ranks
from trainers.engine.tokenisers import check_ids, check_runs, shared_vocabulary
from trainers.methods.base import Role
from trainers.serving.shipped import file_sha256
from trainers.teachers.base import Teacher
from trainers.teachers.local import check_lengths
from trainers.teachers.make import make_teachers, read_pi
from trainers.teachers.pi_teacher import PITeacher


@dataclass(frozen=True)
class Scope:
    """What is measured. given: returns of rollouts, by trajectory. outcomes: of resets."""

    trajectories: list[Trajectory]
    data: RunData
    given: Mapping[str, Rollouts]
    outcomes: Sequence[Outcome] | None = None


@dataclass(frozen=True)
class Measured:
    """Parts of the trajectories at each step, in order; the last has everything."""

    steps: dict[int, list[Part]]
    facts: dict[str, Any]


def gather(subject: Subject, options: DiagnosisOptions) -> Scope:
    """The student's trajectories; `limit` of them, drawn by a hash. Raises DataError."""
    wanted = subject.settings.data
    data = read_runs(wanted.student_runs, "student", max_tokens=wanted.max_tokens)
    trajectories = data.trajectories
    if not trajectories:
        given = ", ".join(str(path) for path in wanted.student_runs)
        raise DataError(f"no trajectory with sampled tokens in {given}")
    if options.limit is not None:
        chosen = reference_states("trajectories", len(trajectories), options.limit, options.seed)
        trajectories = [trajectories[number] for number in chosen.tolist()]
    found = {} if options.returns is None else read_returns(options.returns, trajectories)
    outcomes = None if options.outcomes is None else read_outcomes(options.outcomes)
    return Scope(trajectories, data, found, outcomes)


def show_scope(subject: Subject, scope: Scope, options: DiagnosisOptions) -> str:
    """What a diagnosis would do, without loading a model."""
    trajectories, steps = scope.trajectories, subject.steps
    references = sum(min(options.states, one.sampled_tokens) for one in trajectories)
    anchors = sum(min(options.anchors, one.sampled_tokens) for one in trajectories)
    rollouts = 0 if scope.given else references * options.rollouts
    pi = ", ".join(subject.settings.sources) if subject.settings.pi else "none"
    return "\n".join(
        [
            f"subject    {subject.source}",
            f"data       {len(trajectories):,} of {len(scope.data.trajectories):,} sequences of "
            f"{len({one.group for one in trajectories}):,} instances; "
            f"{sum(one.sampled_tokens for one in trajectories):,} states; "
            f"{sum(one.outcome is not None for one in trajectories):,} graded",
            *(f"           {count:,} {what}" for what, count in sorted(scope.data.counts.items())),
            f"student    at step {', '.join(map(str, steps))}",
            f"PI         {pi}",
            f"alpha      {references:,} states; {rollouts * len(steps):,} continuations of at most "
            f"{options.length} tokens"
            + (f"; returns of {options.returns}" if options.returns else ""),
            f"segments   {anchors:,} anchors, {2 * options.segments} continuations each of at most "
            f"{options.segment_length} tokens",
        ]
    )


def measure_all(subject: Subject, scope: Scope, options: DiagnosisOptions, out: Path) -> Measured:
    """Measure every trajectory at every step, but for what an earlier start did already.

    Raises TrainingError, DataError and ModelError, each saying what would mend it.
    """
    bench = _bench(subject, scope)
    parts = Parts(out / "parts")
    last = subject.steps[-1]
    progress = _Progress(len(subject.steps) * len(scope.trajectories))
    models = {
        "student": bench.student.sha256,
        **{role.value: teacher.model.sha256 for role, teacher in bench.teachers.items()},
    }
    dials = options.model_dump(mode="json", exclude={"limit", "returns", "outcomes", "baseline"})
    pi = _pi_facts(subject.settings)
    found: dict[int, list[Part]] = {}
    for step in subject.steps:
        trained = subject.weights_sha256(step)
        if step:
            subject.load_weights(step, bench.student)
        found[step] = []
        for one in scope.trajectories:
            given = scope.given.get(one.name, {})
            key = part_key(
                models=models,
                trained=trained,
                trajectory=one.sha256,
                pi=pi,
                options=dials,
                given=sorted(given.items()),
                whole=step == last,
            )
            part = parts.get(key)
            made = part is None
            if part is None:
                part = measure(bench, one, options, given, segments=step == last)
                parts.put(key, part)
            found[step].append(part)
            progress.one(f"step {step}, {one.name}", made=made)
    return Measured(found, models | {"pi sources": list(bench.sources)})


def _bench(subject: Subject, scope: Scope) -> Bench:
    settings = subject.settings
    method = StateQuantities(pi_sources=settings.sources if settings.pi else ())
    asking = settings.model_copy(update={"method": method})
    device = join_ranks(settings.device).device
    student = load_student(settings.student, device).eval()
    teachers = make_teachers(asking, device)
    sources: dict[str, Teacher] = {}
    owner = getattr(teachers.get(Role.PI_TEACHER), "owner", None)
    if isinstance(owner, PITeacher) and settings.teacher and len(settings.sources) <= MOST:
        contexts = read_pi(settings)
        sources = {
            name: PITeacher(
                owner.network, contexts, [name], interface=settings.teacher.interface
            ).pi
            for name in settings.sources
        }
    described = {role.value: each.model for role, each in teachers.items()}
    shared = shared_vocabulary(student, described)
    for model in (student, *described.values()):
        model.vocabulary = shared
    check_runs(scope.data, [student, *described.values()])
    check_ids(scope.trajectories, student.embedded, shared)
    check_lengths(student, scope.trajectories)
    for teacher in teachers.values():
        teacher.check(scope.trajectories)
    method = method.model_copy(update={"apart": tuple(sources)})
    return Bench(student, teachers, sources, method, settings.batch.chunk)


def _pi_facts(settings: TrainSettings) -> dict[str, Any]:
    """Everything that decides what the teacher with PI says, besides its weights."""
    if settings.pi is None or settings.teacher is None:
        return {}
    return {
        "contexts": [file_sha256(path) for path in settings.pi.contexts],
        "pi": settings.pi.model_dump(mode="json", exclude={"contexts"}),
        "teacher": settings.teacher.model_dump(mode="json", exclude={"cache"}),
    }


class _Progress:
    """A line now and then, with the time that is left."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._done = self._made = 0
        self._began = self._said = time.monotonic()

    def one(self, what: str, *, made: bool) -> None:
        self._done += 1
        self._made += made
        now = time.monotonic()
        if now - self._said < 2 and self._done < self._total:
            return
        self._said = now
        left = (self._total - self._done) * (now - self._began) / max(1, self._made)
        print(
            f"trajectory {self._done}/{self._total} ({what})  about {left:.0f} s left",
            file=sys.stderr,
            flush=True,
        )
