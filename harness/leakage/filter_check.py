"""The leakage filter, asked again: does training have what it should have rejected?"""

from collections.abc import Iterator

from harness.leakage.filter import filter_rows
from harness.leakage.filter_manifest import FilterManifest, Rejection, load_filter_manifest
from harness.leakage.filter_rows import open_rows
from harness.leakage.findings import Check, Finding, Severity, Status
from harness.leakage.inputs import AuditInputs
from harness.leakage.material import not_run
from harness.leakage.training import used_instances

NAME = "filter"
QUESTION = "Was every training row rejected that shares a commit or a path with evaluation?"
_SHOWN = 100


def check(inputs: AuditInputs) -> Check:
    """Filter the training suite again, and compare with the manifest and with what was used.

    The suite may be the one before the filter, or its `kept.jsonl`. A row that must be rejected and
    was kept, or used, is a leak; so is a manifest that says other than the rows. Raises FilterError
    for a damaged manifest, SuiteError, AuditError.
    """
    if inputs.train is None:
        return not_run(NAME, QUESTION, "train")
    manifest = load_filter_manifest(inputs.filter_manifest) if inputs.filter_manifest else None
    again = filter_rows(
        open_rows(inputs.train),
        open_rows(inputs.evaluation),
        strict=manifest.strict if manifest else False,
        own_rules=manifest is None or bool(set(manifest.own_rules) & set(manifest.rules)),
    )
    used = used_instances(inputs)
    is_kept = manifest is not None and again.train.sha256 == manifest.kept_sha256
    findings = list(_rows(inputs, manifest, again, used, is_kept))
    if manifest is not None:
        findings += _manifest(inputs, manifest, again, is_kept)
    leaks = sum(one.severity is Severity.LEAK for one in findings)
    state = "the manifest's rows" if manifest else "no manifest: all rows that pass"
    return Check(
        name=NAME,
        question=QUESTION,
        status=Status.FAILED if leaks else Status.PASSED,
        reason=f"{again.rejected_rows} of {again.train.rows} training rows must be rejected "
        f"({'strict' if again.strict else 'standard'} rules, {again.evaluation.rows} evaluation "
        f"instances); {leaks} leaks, compared with {state}"
        + (f" and {len(used)} instances that were used" if used else ""),
        findings=tuple(findings[:_SHOWN]),
        figures={
            "training_rows": again.train.rows,
            "evaluation_instances": again.evaluation.rows,
            "must_be_rejected": again.rejected_rows,
            "by_rule": dict(again.by_rule),
            "rejected_by_the_manifest": manifest.rejected_rows if manifest else None,
            "instances_used": len(used),
            "findings": len(findings),
        },
    )


def _rows(
    inputs: AuditInputs,
    manifest: FilterManifest | None,
    again: FilterManifest,
    used: dict[str, str],
    is_kept: bool,
) -> Iterator[Finding]:
    """Rows that must be rejected and were kept or used."""
    told = {(one.row, one.instance_id) for one in manifest.rejected} if manifest else set()
    for one in again.rejected:
        where = used.get(one.instance_id)
        if where is not None:
            yield _leak(inputs, one, "was used for training", where)
        elif is_kept or (manifest is not None and (one.row, one.instance_id) not in told):
            yield _leak(inputs, one, "was kept", f"{inputs.train}: row {one.row}")
        elif manifest is None and not used:
            yield _leak(inputs, one, "is among the training rows", f"{inputs.train}: row {one.row}")


def _manifest(
    inputs: AuditInputs, manifest: FilterManifest, again: FilterManifest, is_kept: bool
) -> Iterator[Finding]:
    """What the manifest says and the rows do not."""
    if is_kept:
        if manifest.kept != again.kept and not again.rejected:
            yield _differs(inputs, "other instances are listed as kept than the kept rows have")
        return
    if again.train.sha256 != manifest.train.sha256:
        yield _differs(
            inputs,
            f"the training rows are not those that were filtered: {again.train.rows} rows with "
            f"sha256 {again.train.sha256[:12]}, the manifest has {manifest.train.rows} rows with "
            f"{manifest.train.sha256[:12]} (kept: {manifest.kept_sha256[:12]})",
        )
        return
    must = {(one.row, one.instance_id): one for one in again.rejected}
    for told in manifest.rejected:
        if (told.row, told.instance_id) not in must:
            yield _differs(inputs, f"{told.instance_id} is listed as rejected, but passes")
        elif must[told.row, told.instance_id] != told:
            yield _differs(inputs, f"another reason is given for {told.instance_id}: {told.rule}")
    if manifest.kept != again.kept and manifest.rejected == again.rejected:
        yield _differs(inputs, "other instances are listed as kept than pass")
    if manifest.evaluation.sha256 != again.evaluation.sha256:
        yield Finding(
            severity=Severity.NOTE,
            title="The filter ran against other bytes of the evaluation suite; "
            "the verdicts above are of the suite given now",
            where=str(inputs.filter_manifest),
            evidence=f"{manifest.evaluation.name} {manifest.evaluation.sha256}, now "
            f"{again.evaluation.name} {again.evaluation.sha256}",
            reproduce=_command(inputs),
        )


def _leak(inputs: AuditInputs, one: Rejection, what: str, where: str) -> Finding:
    clash = f" of evaluation instance {one.evaluation_instance}" if one.evaluation_instance else ""
    return Finding(
        severity=Severity.LEAK,
        title=f"Training instance {one.instance_id or f'row {one.row}'} {what}: "
        f"it has the {one.rule.value.replace('_', ' ')}{clash}",
        where=where,
        evidence=f"{one.rule.value}: {one.evidence}"[:400],
        reproduce=_command(inputs),
    )


def _differs(inputs: AuditInputs, what: str) -> Finding:
    return Finding(
        severity=Severity.LEAK,
        title=f"The filter manifest does not say what the rows say: {what}"[:400],
        where=str(inputs.filter_manifest),
        evidence="the filter, run again on the same rows, disagrees",
        reproduce=_command(inputs),
    )


def _command(inputs: AuditInputs) -> str:
    return f"harness leakage filter --train {inputs.train} -e {inputs.evaluation} --dry-run --json"
