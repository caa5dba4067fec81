"""What an audit looks at. Each part may be missing: its checks then say that they were not run."""

from pathlib import Path

from pydantic import Field

from harness.records import Record


class AuditInputs(Record):
    """Files and folders of one audit, by role; all as earlier stages wrote them."""

    evaluation: str = Field(description="The evaluation suite, as `harness suites show` takes it.")
    train: str | None = Field(None, description="The training suite, likewise.")
    filter_manifest: Path | None = Field(None, description="Of `harness leakage filter`.")
    pi: tuple[Path, ...] = Field((), description="PI records (JSONL) that training used.")
    triples: tuple[Path, ...] = Field((), description="Training rows (Parquet).")
    runs: tuple[Path, ...] = Field((), description="Runs of the student on the evaluation suite.")
    teacher_runs: dict[str, Path] = Field(
        default_factory=dict,
        description="Runs of the teacher: `base`, `pi_removed`, `deployable`, `oracle`.",
    )
    control_runs: dict[str, Path] = Field(
        default_factory=dict,
        description="Runs of students trained as controls: `off_the_shelf`, `method`, "
        "`shuffled_pi`, `wrong_repository`, `random_adapter`, `leave_one_repository_out`.",
    )
    ledger: Path | None = Field(None, description="Of `harness leakage plant`: canaries by field.")
    containers: int | None = Field(
        None, ge=1, description="How many sandboxes of each run to start and search for canaries."
    )
    lint: Path | None = Field(None, description="JSON that `harness env lint --json` printed.")
    endpoint: str | None = Field(None, description="Base URL of the student, for probes.")
    model: str | None = Field(None, description="The student's name at the endpoint.")
    probes: int = Field(20, ge=5, description="Of how many gold patches the student is asked.")
