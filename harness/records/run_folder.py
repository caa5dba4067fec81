"""Where a run keeps what: `runs/<id>/`."""

from dataclasses import dataclass
from pathlib import Path

from harness.records.instance import InstanceId


@dataclass(frozen=True)
class RunFolder:
    """The paths of one run (one method on one suite).

    run.yaml lock.json ledger.sqlite instances.jsonl refused.jsonl
    scores.json results.json predictions.jsonl report/index.html
    attempts/<instance>/<seed>/  attempt.json events.jsonl patch.diff calls.parquet logs/
    grades/<instance>/<seed>/    grade.json eval.log
    """

    root: Path

    @property
    def config(self) -> Path:
        """The resolved configuration."""
        return self.root / "run.yaml"

    @property
    def lock(self) -> Path:
        """Digests of everything that decides the result."""
        return self.root / "lock.json"

    @property
    def ledger(self) -> Path:
        """The state of every attempt."""
        return self.root / "ledger.sqlite"

    @property
    def suite(self) -> Path:
        """The instances of the run, as loaded (JSONL)."""
        return self.root / "instances.jsonl"

    @property
    def scores(self) -> Path:
        """The run's scores."""
        return self.root / "scores.json"

    @property
    def results(self) -> Path:
        """Configuration, lock, scores, and every attempt with its grade, in one JSON file."""
        return self.root / "results.json"

    @property
    def predictions(self) -> Path:
        """Patches in the official predictions format."""
        return self.root / "predictions.jsonl"

    @property
    def report(self) -> Path:
        """The HTML report."""
        return self.root / "report" / "index.html"

    @property
    def refused(self) -> Path:
        """What was asked for and not run, with reasons (JSONL)."""
        return self.root / "refused.jsonl"

    def attempt(self, instance: InstanceId, seed: int) -> Path:
        """The folder of one attempt."""
        return self.root / "attempts" / instance / str(seed)

    def grade(self, instance: InstanceId, seed: int) -> Path:
        """The folder of one attempt's grade."""
        return self.root / "grades" / instance / str(seed)


def find_runs(path: Path) -> list[RunFolder]:
    """The run at a path, or the runs directly below it, by name.

    Raises FileNotFoundError when there is none.
    """
    if (path / "run.yaml").is_file():
        return [RunFolder(path)]
    runs = [RunFolder(child.parent) for child in sorted(path.glob("*/run.yaml"))]
    if not runs:
        raise FileNotFoundError(
            f"no run in {path}: expected run.yaml there or in a folder directly below it"
        )
    return runs
