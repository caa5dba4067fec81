"""Runs every check of an audit, and lets none fail silently."""

import hashlib
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

from harness.leakage import (
    canaries,
    conduct,
    containers,
    contamination,
    controls,
    filter_check,
    image_lint,
    overlap,
    pi_provenance,
    repository_overlap,
    teacher,
)
from harness.leakage.findings import Audit, Check, Status
from harness.leakage.inputs import AuditInputs
from harness.leakage.material import AuditError, evaluation_instances, suite
from harness.leakage.training import rows
from harness.records import RunFolder

CheckFunction = Callable[[AuditInputs], Check]

CHECKS: Mapping[str, CheckFunction] = {
    "filter": filter_check.check,
    "repository_overlap": repository_overlap.check,
    "pi_provenance": pi_provenance.check,
    "canaries": canaries.check,
    "image_lint": image_lint.check,
    "containers": containers.check,
    "overlap": overlap.check,
    "conduct": conduct.check,
    "contamination": contamination.check,
    "controls": controls.check,
    "pi_removed_teacher": teacher.check,
}
"""Every check by its name, in the order in which they run and are reported."""


def audit(
    inputs: AuditInputs,
    on_progress: Callable[[str], None],
    *,
    require: Collection[str] = (),
    checks: Mapping[str, CheckFunction] = CHECKS,
) -> Audit:
    """Run all checks. One that breaks ends as `error` with its message, and the others still run.

    A required check that lacks its inputs fails. Raises AuditError or SuiteError when an input is
    not there or cannot be read, and when a required check does not exist.
    """
    unknown = sorted(set(require) - checks.keys())
    if unknown:
        raise AuditError(f"no check named {', '.join(unknown)}; there are {', '.join(checks)}")
    described = describe_inputs(inputs)
    done = []
    for number, (name, run) in enumerate(checks.items(), start=1):
        on_progress(f"[{number}/{len(checks)}] {name}")
        check = _guarded(name, run, inputs)
        if check.status is Status.NOT_RUN and name in require:
            reason = f"required, but not run: {check.reason}"
            check = check.model_copy(update={"status": Status.FAILED, "reason": reason})
        on_progress(f"[{number}/{len(checks)}] {name}: {check.status.value}: {check.reason}")
        done.append(check)
    return Audit(inputs=described, checks=tuple(done))


def _guarded(name: str, run: CheckFunction, inputs: AuditInputs) -> Check:
    try:
        check = run(inputs)
    except Exception as error:  # whatever breaks a check, the audit must say so and fail
        return Check(
            name=name,
            question="Nothing is known: the check broke.",
            status=Status.ERROR,
            reason=f"{type(error).__name__}: {error}"[:2000],
        )
    if check.name != name:
        reason = f"it calls itself {check.name!r}"
        return check.model_copy(update={"name": name, "status": Status.ERROR, "reason": reason})
    return check


def describe_inputs(inputs: AuditInputs) -> dict[str, str]:
    """Where every input is and its SHA-256, by role.

    Raises AuditError when one is missing, SuiteError when a suite cannot be read.
    """
    evaluation_instances(inputs.evaluation)
    described = {"evaluation": f"{inputs.evaluation} sha256:{suite(inputs.evaluation).sha256}"}
    if inputs.train is not None:
        described["train"] = f"{inputs.train} sha256:{rows(inputs.train).sha256}"
    for role, path in _paths(inputs):
        described[role] = f"{path} sha256:{_digest(role, path)}"
    if inputs.endpoint is not None:
        described["endpoint"] = f"{inputs.endpoint} model {inputs.model or 'not named'}"
    return described


def _paths(inputs: AuditInputs) -> list[tuple[str, Path]]:
    single = {
        "filter_manifest": inputs.filter_manifest,
        "ledger": inputs.ledger,
        "lint": inputs.lint,
    }
    lists = {"pi": inputs.pi, "triples": inputs.triples, "runs": inputs.runs}
    named = {"teacher_runs": inputs.teacher_runs, "control_runs": inputs.control_runs}
    return [
        *((role, path) for role, path in single.items() if path is not None),
        *((f"{role}[{n}]", one) for role, paths in lists.items() for n, one in enumerate(paths)),
        *((f"{role}.{name}", one) for role, runs in named.items() for name, one in runs.items()),
    ]


def _digest(role: str, path: Path) -> str:
    """Of a file, or of the files that say what a run is and how it ended."""
    folder = RunFolder(path)
    if path.is_dir():
        if not folder.config.is_file():
            raise AuditError(f"{role}: no run in {path} (run.yaml is missing)")
        files = [folder.lock, folder.suite, folder.scores, folder.predictions]
    elif path.is_file():
        files = [path]
    else:
        raise AuditError(f"{role}: {path} does not exist")
    digest = hashlib.sha256()
    for file in files:
        if file.is_file():
            with file.open("rb") as stream:
                digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()
