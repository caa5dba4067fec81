"""From attempts and grades on disk to scores, predictions and one file with everything."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from harness.records import Attempt, Grade, Instance, RunFolder
from harness.rollouts.ledger import Job
from harness.rollouts.work import read_patch
from harness.scoring import Scored, Scores, score, scored


def finish_run(folder: RunFolder, jobs: Sequence[Job]) -> Scores:
    """Score what is there, and write scores, predictions and results."""
    scores = score(
        load_scored(folder, jobs), expected=[(job.instance_id, job.seed) for job in jobs]
    )
    _write(folder.scores, scores.model_dump_json(indent=1) + "\n")
    _write(folder.predictions, "".join(_prediction(folder, job) for job in jobs))
    _write(folder.results, "".join(_results(folder, jobs)))
    return scores


def load_scored(folder: RunFolder, jobs: Sequence[Job] | None = None) -> list[Scored]:
    """The graded attempts of a run: of these jobs, or all that are on disk."""
    instances = {
        instance.instance_id: instance
        for line in folder.suite.read_text(encoding="utf-8").splitlines()
        for instance in (Instance.model_validate_json(line),)
    }
    if jobs is None:
        jobs = [
            Job(instance_id=path.parts[-3], seed=int(path.parts[-2]))
            for path in sorted((folder.root / "grades").glob("*/[0-9]*/grade.json"))
        ]
    rows = []
    for job in jobs:
        attempt_path = folder.attempt(job.id, job.seed) / "attempt.json"
        grade_path = folder.grade(job.id, job.seed) / "grade.json"
        if grade_path.is_file():
            attempt = Attempt.model_validate_json(attempt_path.read_bytes())
            grade = Grade.model_validate_json(grade_path.read_bytes())
            rows.append(scored(instances[job.instance_id], attempt, grade))
    return rows


def run_summary(folder: RunFolder) -> dict[str, Any]:
    """A run's headline, for machines."""
    scores = Scores.model_validate_json(folder.scores.read_bytes())
    rate = scores.pass_at_1
    outcomes: dict[str, set[bool]] = {}
    for row in load_scored(folder):
        outcomes.setdefault(row.instance_id, set()).add(row.resolved)
    return {
        "run": str(folder.root),
        "instances": scores.instances,
        "seeds": list(scores.seeds),
        "attempts": scores.attempts,
        "resolved": scores.resolved,
        "pass_at_1": rate.interval.model_dump() if rate else None,
        "verdicts": {verdict.value: count for verdict, count in scores.verdicts.items()},
        "resolved_by_some_seeds": sorted(name for name, seen in outcomes.items() if len(seen) > 1),
        "infra_failures": len(scores.ungraded.infra_failures),
        "missing": len(scores.ungraded.missing),
        "scores": str(folder.scores),
    }


def _results(folder: RunFolder, jobs: Sequence[Job]) -> Iterator[str]:
    """One JSON object, put together from files that are JSON already."""
    config = yaml.safe_load(folder.config.read_text(encoding="utf-8"))
    yield f'{{"schema_version": 1,\n"config": {json.dumps(config)},\n'
    yield f'"lock": {folder.lock.read_text(encoding="utf-8")},\n'
    yield f'"scores": {folder.scores.read_text(encoding="utf-8")},\n"attempts": ['
    separator = "\n"
    for job in jobs:
        attempt = _text(folder.attempt(job.id, job.seed) / "attempt.json")
        grade = _text(folder.grade(job.id, job.seed) / "grade.json")
        yield f'{separator}{{"attempt": {attempt}, "grade": {grade}}}'
        separator = ",\n"
    yield "]}\n"


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.is_file() else "null"


def _prediction(folder: RunFolder, job: Job) -> str:
    attempt_folder = folder.attempt(job.id, job.seed)
    if not (attempt_folder / "attempt.json").is_file():
        return ""
    attempt = Attempt.model_validate_json((attempt_folder / "attempt.json").read_bytes())
    name = attempt.method if attempt.model is None else f"{attempt.method}/{attempt.model}"
    row = {
        "instance_id": job.instance_id,
        "model_name_or_path": name if job.seed == 0 else f"{name}@seed{job.seed}",
        "model_patch": read_patch(attempt_folder),
    }
    return json.dumps(row) + "\n"


def _write(path: Path, text: str) -> None:
    draft = path.with_name(f".{path.name}.draft")
    draft.write_text(text, encoding="utf-8")
    draft.replace(path)
