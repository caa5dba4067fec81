"""What became of a package's candidates."""

import math
from collections import Counter, defaultdict

from pydantic import Field

from harness.datagen.edit_bugs_rows import PackageTexts
from harness.datagen.edit_bugs_trial import Again, Survey, Tried
from harness.datagen.synthesis.candidates import Candidate
from harness.datagen.synthesis.judge import Finding, RejectedError, judge
from harness.datagen.synthesis.settings import Settings
from harness.environments.recipe import Recipe
from harness.records import Record


class PackageYield(Record):
    """What became of a package's candidates. problem: why it has none.

    operators: outcomes by operator; kinds: by operator and kind. cpu_seconds: of the tests of all
    candidates, also of those that were more than enough; `operator_seconds`: of those that count.
    wall_seconds: of the last start.
    """

    given: str = ""
    repo: str
    version: str = ""
    problem: str = ""
    tests: int = 0
    unsteady: int = 0
    tried: int = 0
    instances: int = 0
    functions: int = 0
    outcomes: dict[str, int] = Field(default_factory=dict)
    operators: dict[str, dict[str, int]] = Field(default_factory=dict)
    kinds: dict[str, dict[str, int]] = Field(default_factory=dict)
    operator_seconds: dict[str, float] = Field(default_factory=dict)
    cpu_seconds: float = 0.0
    wall_seconds: float = 0.0
    recipe: Recipe | None = Field(None, exclude=True)
    findings: tuple[Finding, ...] = Field((), exclude=True)


class Count:
    """The instances found so far, and what the other candidates came to."""

    def __init__(self, repo: str, survey: Survey, texts: PackageTexts, settings: Settings) -> None:
        self._repo, self._survey, self._texts, self._settings = repo, survey, texts, settings
        self._findings: list[Finding] = []
        self._behaviours: set[object] = set()
        self._operators: dict[str, Counter[str]] = defaultdict(Counter)
        self._kinds: dict[str, Counter[str]] = defaultdict(Counter)
        self._seconds: Counter[str] = Counter()
        self.tried = 0

    @property
    def wanted(self) -> int:
        """Candidates that may be enough for the instances that are missing."""
        missing = self._settings.instances - len(self._findings)
        rate = (len(self._findings) + 1) / (self.tried + 2)
        return min(math.ceil(missing / rate), self._settings.candidates - self.tried)

    @property
    def full(self) -> bool:
        """Whether there are enough instances, or enough candidates were tried."""
        enough = len(self._findings) >= self._settings.instances
        return enough or self.tried >= self._settings.candidates

    def take(self, one: Candidate, tried: Tried, clean: Again | None, covering: int) -> None:
        """Count a candidate, and keep its instance if it is one."""
        try:
            finding = judge(
                self._repo, one, tried, self._survey, clean, self._texts, covering=covering
            )
            if finding.behaviour in self._behaviours:
                raise RejectedError("duplicate")
            self._behaviours.add(finding.behaviour)
            self._findings.append(finding)
            outcome = "instance"
        except RejectedError as reason:
            outcome = str(reason)
        self.tried += 1
        self._operators[one.operator][outcome] += 1
        self._kinds[f"{one.operator}: {one.kind}"][outcome] += 1
        self._seconds[one.operator] += tried.seconds  # type: ignore[assignment]

    def progress(self, seconds: float) -> str:
        """How far it is, and how long the rest takes if it goes on like this."""
        most, have = self._settings.instances, len(self._findings)
        left = min(
            (most - have) / max(1, have), (self._settings.candidates / max(1, self.tried)) - 1
        )
        eta = f", at most {left * seconds:.0f} s left" if self.tried else ""
        return f"{have} of at most {most} instances, {self.tried} candidates tried{eta}"

    def result(self, recipe: Recipe, *, cpu: float, wall: float) -> PackageYield:
        """What became of all."""
        total = sum(self._operators.values(), Counter())
        return PackageYield(
            repo=self._repo,
            version=recipe.version,
            tests=len(self._survey.tests),
            unsteady=len(self._survey.unsteady),
            tried=self.tried,
            instances=len(self._findings),
            functions=len({(one.path, one.function) for one in self._findings}),
            outcomes=dict(total.most_common()),
            operators={name: dict(found) for name, found in sorted(self._operators.items())},
            kinds={name: dict(found) for name, found in sorted(self._kinds.items())},
            operator_seconds={name: round(one, 2) for name, one in sorted(self._seconds.items())},
            cpu_seconds=round(cpu, 1),
            wall_seconds=round(wall, 1),
            recipe=recipe,
            findings=tuple(sorted(self._findings, key=lambda one: one.instance_id)),
        )
