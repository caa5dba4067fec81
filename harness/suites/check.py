"""Whether a suite is what it says it is."""

from pathlib import Path

from harness.records import Record
from harness.suites.load import load_suite, split_ids
from harness.suites.manifests import load_manifest, suite_names
from harness.suites.validate import RefusedRow


class SuiteCheck(Record):
    """What a validation found. Without `rows_read` only the fixed list of ids was checked, and
    `sha256` is of that list; else it is of the rows."""

    name: str
    instances: int
    gradable: int
    sha256: str
    rows_read: bool
    refused: tuple[RefusedRow, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether there are instances and no refused rows."""
        return self.instances > 0 and not self.refused


def validate_suite(
    reference: str,
    *,
    split: str | None = None,
    revision: str | None = None,
    rows: Path | None = None,
) -> SuiteCheck:
    """Read a suite again, recompute every digest and validate every row.

    A shipped suite that fixes ids only is checked without rows when none are named.
    Raises SuiteError for an unknown suite, a wrong digest, or missing or additional instances.
    """
    name, _, part = reference.partition("/")
    if rows is None and revision is None and name in suite_names():
        manifest = load_manifest(name)
        if manifest.kind == "ids":
            return SuiteCheck(
                name=reference,
                instances=len(split_ids(manifest, part or split)),
                gradable=0,
                sha256=manifest.sha256,
                rows_read=False,
            )
    suite = load_suite(reference, split=split, revision=revision, rows=rows)
    return SuiteCheck(
        name=suite.name,
        instances=len(suite.instances),
        gradable=sum(one.gradable for one in suite.instances),
        sha256=suite.sha256,
        rows_read=True,
        refused=suite.refused,
    )
