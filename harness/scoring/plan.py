"""How many runs on how many instances show a difference in pass@1.

One run of a method is one attempt per instance; R runs are R seeds. For methods a and b with
pass@1 of p and q = p + δ, the mean difference over N instances has variance V(R)/N with

    V(R) = ψ - δ² - (w_a + w_b)·(1 - 1/R)

ψ is the discordance (chance that one attempt of each on the same instance disagree), and
w = p(1 - p)(1 - r) the part of an attempt's variance that differs between runs of one method,
r being the correlation of two runs of one method. Instances are a sample: more runs remove the
w, never the rest. A two-sided test at α has the asked power when

    N·δ² ≥ (z_{1-α/2}·√(V(R) + δ²) + z_power·√V(R))²

which for R = 1 is the sample size of McNemar's test and for more runs a little conservative for
the paired bootstrap. When a and b are run on different instances, V(R) is the sum of both
methods' variances, each p(1 - p)(r + (1 - r)/R), and the first root is taken at the common rate
(p + q)/2.

Source: Connor, Sample Size for Testing Differences in Proportions for the Paired-Sample Design,
Biometrics 43 (1987), for R = 1; Miller, Adding Error Bars to Evals (2024), for the split of the
variance over instances and runs; Fleiss, Levin and Paik, Statistical Methods for Rates and
Proportions (2003), ch. 4, for different instances.
"""

import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import Literal, Self

from pydantic import Field, ValidationError, model_validator

from harness.records import Record

MAX_RUNS = 100
RUN_CORRELATION = 0.6
"""Assumed unless given. At pass@1 = 12 % it makes pass@2 16 %."""
_EPSILON = 1e-12

Design = Literal["paired", "unpaired"]


class PlanError(ValueError):
    """The numbers asked for are impossible together."""


class Assumptions(Record):
    """What is assumed of the two methods.

    Give the chance that they disagree on an instance either as `discordance` (a comparison of
    two runs prints it) or as `correlation` of their verdicts.
    """

    base_rate: float = Field(gt=0, lt=1, description="pass@1 of the weaker method.")
    mde: float = Field(gt=0, lt=1, description="Smallest difference to detect.")
    correlation: float = Field(0.5, ge=-1, le=1)
    discordance: float | None = Field(None, gt=0, le=1)
    run_correlation: float | None = Field(
        None, ge=0, le=1, description="None: RUN_CORRELATION, or half-way from the least to 1."
    )

    @property
    def improved_rate(self) -> float:
        """pass@1 of the better method."""
        return self.base_rate + self.mde

    @property
    def variance(self) -> float:
        """Variance of one attempt's verdict, summed over both methods."""
        return _variance(self.base_rate) + _variance(self.improved_rate)

    @property
    def psi(self) -> float:
        """The discordance, given or from the correlation."""
        if self.discordance is not None:
            return self.discordance
        p, q = self.base_rate, self.improved_rate
        together = self.correlation * math.sqrt(_variance(p) * _variance(q))
        return p * (1 - q) + q * (1 - p) - 2 * together

    @property
    def r(self) -> float:
        """The correlation of two runs of one method, given or assumed."""
        if self.run_correlation is not None:
            return self.run_correlation
        return RUN_CORRELATION if self._least_r <= RUN_CORRELATION else (1 + self._least_r) / 2

    @property
    def _least_r(self) -> float:
        """Below it, runs of one method would disagree more than the two methods do."""
        return 1 - (self.psi - self.mde**2) / self.variance

    @model_validator(mode="after")
    def _possible(self) -> Self:
        p, q = self.base_rate, self.improved_rate
        if q >= 1:
            raise ValueError(f"base_rate {p:g} and mde {self.mde:g} make more than all resolved")
        least, most = self.mde, min(p + q, 2 - p - q)
        if not least - _EPSILON <= self.psi <= most + _EPSILON:
            what = "correlation" if self.discordance is None else "discordance"
            raise ValueError(
                f"{what} {getattr(self, what):g} is impossible: methods that resolve {p:.1%} and "
                f"{q:.1%} disagree on {least:.1%} to {most:.1%} of instances, not {self.psi:.1%}"
            )
        if self.r < self._least_r - _EPSILON:
            raise ValueError(
                f"run_correlation {self.r:g} is impossible: runs of one method would disagree "
                f"more than the two methods do; it must be at least {self._least_r:.3f}"
            )
        return self


class PlanRow(Record):
    """Runs of each method needed with so many instances; None: more than MAX_RUNS."""

    instances: int
    paired_runs: int | None
    unpaired_runs: int | None = Field(description="Each method on other instances.")
    power_of_one_run: float = Field(description="Paired.")


class Plan(Record):
    """What a study needs."""

    assumptions: Assumptions
    discordance: float
    alpha: float
    power: float
    comparisons: int
    rows: tuple[PlanRow, ...]
    instances_for_one_run: int = Field(description="Instances needed with one paired run each.")


def plan(
    mde: float,
    base_rate: float,
    *,
    correlation: float | None = None,
    discordance: float | None = None,
    run_correlation: float | None = None,
    instances: Sequence[int] = (50, 100, 200, 300, 500, 1000, 2294),
    power: float = 0.8,
    alpha: float = 0.05,
    comparisons: int = 1,
) -> Plan:
    """How many runs of each method show a difference of `mde`, for each number of instances.

    See `Assumptions` for the first five. `comparisons` in one family share `alpha` (Bonferroni's
    bound on Holm's procedure). Raises PlanError for numbers that are impossible.
    """
    if not 0 < alpha < power < 1 or comparisons < 1 or min(instances, default=1) < 1:
        raise PlanError(
            f"alpha {alpha:g}, power {power:g}, comparisons {comparisons}, instances "
            f"{list(instances)}: need 0 < alpha < power < 1 and numbers of at least 1"
        )
    if correlation is not None and discordance is not None:
        raise PlanError("correlation and discordance say the same thing: give one of them")
    given = {"correlation": correlation} if correlation is not None else {}
    try:
        assumptions = Assumptions(
            base_rate=base_rate,
            mde=mde,
            discordance=discordance,
            run_correlation=run_correlation,
            **given,
        )
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"]))
        found = f"{field} {first['input']}: " if field else ""
        raise PlanError(found + first["msg"].removeprefix("Value error, ")) from None
    level = alpha / comparisons

    def runs(count: int, design: Design) -> int | None:
        enough = (
            one
            for one in range(1, MAX_RUNS + 1)
            if needed_instances(assumptions, runs=one, design=design, power=power, alpha=level)
            <= count
        )
        return next(enough, None)

    return Plan(
        assumptions=assumptions,
        discordance=assumptions.psi,
        alpha=alpha,
        power=power,
        comparisons=comparisons,
        rows=tuple(
            PlanRow(
                instances=count,
                paired_runs=runs(count, "paired"),
                unpaired_runs=runs(count, "unpaired"),
                power_of_one_run=achieved_power(assumptions, instances=count, runs=1, alpha=level),
            )
            for count in instances
        ),
        instances_for_one_run=needed_instances(assumptions, runs=1, power=power, alpha=level),
    )


def needed_instances(
    assumptions: Assumptions,
    *,
    runs: int,
    design: Design = "paired",
    power: float = 0.8,
    alpha: float = 0.05,
) -> int:
    """Instances (per method, when unpaired) that reach the power with so many runs."""
    null, alternative = _variances(assumptions, runs, design)
    z_alpha, z_power = NormalDist().inv_cdf(1 - alpha / 2), NormalDist().inv_cdf(power)
    root = z_alpha * math.sqrt(null) + z_power * math.sqrt(alternative)
    return math.ceil((root / assumptions.mde) ** 2 - 1e-9)


def achieved_power(
    assumptions: Assumptions,
    *,
    instances: int,
    runs: int,
    design: Design = "paired",
    alpha: float = 0.05,
) -> float:
    """The chance to detect the difference."""
    null, alternative = _variances(assumptions, runs, design)
    z_alpha = NormalDist().inv_cdf(1 - alpha / 2)
    margin = math.sqrt(instances) * assumptions.mde - z_alpha * math.sqrt(null)
    return 1.0 if alternative <= 0 < margin else NormalDist().cdf(margin / math.sqrt(alternative))


def _variances(assumptions: Assumptions, runs: int, design: Design) -> tuple[float, float]:
    """Variance of one instance's difference if there were no difference, and as assumed."""
    r, mde = assumptions.r, assumptions.mde
    if design == "paired":
        between_runs = (1 - r) * assumptions.variance
        alternative = max(0.0, assumptions.psi - mde**2 - between_runs * (1 - 1 / runs))
        return alternative + mde**2, alternative
    share = r + (1 - r) / runs
    return 2 * _variance(assumptions.base_rate + mde / 2) * share, assumptions.variance * share


def _variance(rate: float) -> float:
    return rate * (1 - rate)
