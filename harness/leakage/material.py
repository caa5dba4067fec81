"""What several checks read: suites, and runs on the evaluation suite. Suites are read once."""

from functools import lru_cache
from pathlib import Path

from harness.leakage.findings import Check, Status
from harness.records import Instance, RunFolder
from harness.scoring import Scored
from harness.suites.load import Suite, load_suite


class AuditError(ValueError):
    """The inputs of an audit cannot be used; the text says which, and what to do."""


def suite(reference: str) -> Suite:
    """A suite, as `harness suites show` takes it. Raises SuiteError."""
    path = Path(reference)
    stat = path.stat() if path.is_file() else None
    return _suite(reference, (stat.st_mtime_ns, stat.st_size) if stat else None)


@lru_cache(maxsize=4)
def _suite(reference: str, stamp: tuple[int, int] | None) -> Suite:
    return load_suite(reference, strict=False)


def evaluation_instances(reference: str) -> dict[str, Instance]:
    """The evaluation suite by id. Raises SuiteError, or AuditError when a row was refused."""
    loaded = suite(reference)
    if loaded.refused:
        raise AuditError(
            f"{reference}: {len(loaded.refused)} rows of the evaluation suite cannot be used, "
            f"so nothing can be said of them; mend them ({loaded.refused[0].text})"
        )
    return {one.instance_id: one for one in loaded.instances}


def not_run(name: str, question: str, *missing: str) -> Check:
    """A check without its inputs."""
    return Check(
        name=name,
        question=question,
        status=Status.NOT_RUN,
        reason=f"not given: {', '.join(missing)}",
    )


def scored_run(role: str, path: Path, evaluation: str) -> list[Scored]:
    """The graded attempts of one run on the evaluation suite.

    Raises AuditError when there is no such run, when nothing of it is graded, or when it has
    instances that the evaluation suite has not.
    """
    from harness.rollouts.finish import load_scored

    folder = RunFolder(path)
    if not folder.config.is_file():
        raise AuditError(f"{role}: no run in {path} (run.yaml is missing)")
    rows = load_scored(folder)
    if not rows:
        raise AuditError(f"{role}: no graded attempt in {path}; finish the run first")
    known = evaluation_instances(evaluation)
    strangers = sorted({row.instance_id for row in rows} - known.keys())
    if strangers:
        raise AuditError(
            f"{role}: {len(strangers)} instances of {path} are not in the evaluation suite "
            f"{evaluation}: {', '.join(strangers[:5])}{' …' if len(strangers) > 5 else ''}"
        )
    return rows
