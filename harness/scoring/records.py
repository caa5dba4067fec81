"""What scoring gives. Rates and their bounds are proportions from 0 to 1."""

from typing import Literal

from pydantic import Field

from harness.records import Record, StopReason, Verdict


class Resampling(Record):
    """How intervals are computed. The same settings give the same bounds on every machine."""

    level: float = Field(0.95, gt=0, lt=1, description="Confidence level.")
    n_resamples: int = Field(10_000, ge=1)
    seed: int = 0


DEFAULT = Resampling()


class Interval(Record):
    """An estimate and its confidence interval."""

    value: float
    low: float
    high: float
    level: float = Field(gt=0, lt=1)
    n: int = Field(ge=1, description="Units that were resampled or counted.")
    method: str


class Rate(Record):
    """A share of instances with two intervals: the bootstrap's, and Wilson's for where all
    instances agree or are very few. With several seeds Wilson's is conservative."""

    bootstrap: Interval
    wilson: Interval
    note: str = ""

    @property
    def interval(self) -> Interval:
        """The interval to show: the bootstrap's unless it has no width."""
        return self.bootstrap if self.bootstrap.low < self.bootstrap.high else self.wilson


class AttemptKey(Record):
    """Which attempt."""

    instance_id: str
    seed: int


class Ungraded(Record):
    """Attempts without a verdict on their patch, and what they could change at most."""

    infra_failures: tuple[AttemptKey, ...]
    missing: tuple[AttemptKey, ...]
    low: float = Field(description="pass@1 over all instances if none of them were resolved.")
    high: float = Field(description="pass@1 over all instances if all of them were resolved.")


class PassAtK(Record):
    """The chance that at least one of k attempts resolves an instance."""

    k: int = Field(ge=1)
    rate: Rate


class Group(Record):
    """pass@1 of some of the instances."""

    name: str
    instances: int
    attempts: int
    resolved: int = Field(description="Attempts.")
    pass_at_1: Rate


class Scores(Record):
    """`scores.json`: everything that one run's verdicts say.

    Rates are over the instances with at least one graded attempt, averaged over seeds within an
    instance first. `ungraded` is what that leaves out.
    """

    schema_version: Literal[1] = 1
    instances: int
    seeds: tuple[int, ...]
    attempts: int = Field(description="Graded and infrastructure failures.")
    resolved: int = Field(description="Attempts.")
    resolved_by_seed: dict[int, int]
    pass_at_1: Rate | None
    pass_at_1_clustered: Interval | None = Field(
        description="Whole repositories resampled; none with fewer than two."
    )
    pass_at_k: tuple[PassAtK, ...]
    ungraded: Ungraded
    verdicts: dict[Verdict, int]
    stop_reasons: dict[StopReason, int]
    by_repository: tuple[Group, ...]
    by_difficulty: tuple[Group, ...]
    by_category: dict[str, tuple[Group, ...]]
    without_repository: tuple[Group, ...] = Field(description="All but the named repository.")
    generated_tokens: Interval | None = Field(description="Mean per attempt.")
    turns: Interval | None = Field(description="Mean per attempt.")
    seconds: Interval | None = Field(description="Mean per attempt.")
    resampling: Resampling


class Comparison(Record):
    """Two runs on the same instances. Differences are b minus a."""

    schema_version: Literal[1] = 1
    a: str
    b: str
    instances: int
    seeds_a: tuple[int, ...]
    seeds_b: tuple[int, ...]
    pass_at_1_a: Interval
    pass_at_1_b: Interval
    difference: Interval
    clustered_difference: Interval | None
    better_in_a: tuple[str, ...] = Field(description="Ids resolved more often in a than in b.")
    better_in_b: tuple[str, ...]
    tied: int
    discordance: float = Field(description="Chance that one attempt of each disagree.")
    p_bootstrap: float
    p_exact: float
    exact_test: str
    family: int = Field(1, ge=1, description="Comparisons that the Holm values are over.")
    p_bootstrap_holm: float
    p_exact_holm: float
    left_out: tuple[str, ...] = Field(description="Ids that are not graded in both runs.")
    notes: tuple[str, ...] = ()
    resampling: Resampling
