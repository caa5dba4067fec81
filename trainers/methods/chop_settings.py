"""What can be set about CHOP. Defaults are the paper's. Source: CHOP §4.4, Tables 21, 22, 27."""

from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from harness.records.base import Record
from trainers.segments.score_gradient import Estimator

DEPLOYABLE = ("call_graph", "test_manifest")
PRESETS: Mapping[str, Mapping[str, Any]] = {
    # PI that exists where no one knows the answer yet. Source: CHOP App. D.1.
    "deployable": {"pi_sources": DEPLOYABLE},
    # All PI, that made from the gold patch included: a ceiling, never a result.
    "oracle": {"pi_sources": (*DEPLOYABLE, "gold_patch", "next_file")},
    # The 70th percentile read as CHOP §4.4 says: segments for the least reliable 70 %.
    "literal_q70": {"thresholds": {"kind": "streaming", "reliability_quantile": 0.7}},
}
Share = Annotated[float, Field(ge=0, le=1)]


class GivenReliability(Record):
    """ρ = exp(-λ1·H(q) - λ2·TV(q, p)) with weights that were fitted before. Source: CHOP Eq. 3."""

    kind: Literal["given"] = "given"
    entropy_weight: float = Field(ge=0, description="λ1, per nat.")
    tv_weight: float = Field(ge=0, description="λ2.")


class OutcomeFreeReliability(Record):
    """λ1 and λ2 are 1 over the largest H and TV of the first states. Source: CHOP Eq. 13."""

    kind: Literal["outcome_free"] = "outcome_free"
    states: int = Field(1024, ge=1, description="All states are trusted until they were seen.")


class LogisticReliabilitySettings(Record):
    """ρ = σ(a·(H_max - H(q)) - b·TV(q, p)). Source: CHOP App. B.4."""

    kind: Literal["logistic"] = "logistic"
    entropy_slope: float = Field(ge=0)
    tv_slope: float = Field(ge=0)
    entropy_maximum: float = Field(gt=0, description="Nats.")


AnyReliability = Annotated[
    GivenReliability | OutcomeFreeReliability | LogisticReliabilitySettings,
    Field(discriminator="kind"),
]


class StreamingThresholds(Record):
    """Quantiles of the states seen lately. Source: CHOP §4.1."""

    kind: Literal["streaming"] = "streaming"
    reliability_quantile: Share = Field(0.30, description="The untrusted share.")
    pi_quantile: Share = Field(0.70, description="The share without PI.")
    window: int = Field(8192, ge=1, description="States.")
    warm_up: int = Field(1024, ge=1, description="States before a gate opens.")
    per_trajectory: int = Field(256, ge=1, description="States that stand for a trajectory.")

    @model_validator(mode="after")
    def _warm_up_fits(self) -> "StreamingThresholds":
        if self.warm_up > self.window:
            raise ValueError(
                f"a warm-up of {self.warm_up} states does not fit a window of {self.window}"
            )
        return self


class StaticThresholds(Record):
    """Fixed numbers: an ablation. Source: CHOP Table 22 (g)."""

    kind: Literal["static"] = "static"
    reliability: Share = 0.5
    pi: Share = 0.5


AnyThresholds = Annotated[StreamingThresholds | StaticThresholds, Field(discriminator="kind")]


class Distance(StrEnum):
    """How two sets of embedded segments are compared."""

    SLICED_WASSERSTEIN = "sliced_wasserstein"
    MMD = "mmd"  # an ablation


class Encoder(StrEnum):
    """Whose hidden states embed a segment."""

    CURRENT = "current"  # the student as it is
    FROZEN = "frozen"  # the student without its adapter: an ablation


class SegmentSettings(Record):
    """The segment branch. Source: CHOP §4.3."""

    anchors: int = Field(4, ge=1, description="Untrusted states of a trajectory that are sampled.")
    count: int = Field(8, ge=2, description="K: segments of each model at an anchor.")
    length: int = Field(64, ge=1, description="L_a: tokens of a segment, at most.")
    projections: int = Field(32, ge=1, description="L.")
    distance: Distance = Distance.SLICED_WASSERSTEIN
    estimator: Estimator = Estimator.MARGINAL
    encoder: Encoder = Encoder.CURRENT
    weight: float = Field(1.0, ge=0, description="Of a squared distance, against a nat.")

    @model_validator(mode="after")
    def _known_estimator(self) -> "SegmentSettings":
        if self.distance is Distance.MMD and self.estimator is not Estimator.MARGINAL:
            raise ValueError(f"estimator {self.estimator} is of transport costs; mmd has none")
        return self


class AdaptiveRoute(Record):
    """The gates decide."""

    kind: Literal["adaptive"] = "adaptive"


class FileRoute(Record):
    """Decisions of a file decide: another training's whole ledger, or an oracle's."""

    kind: Literal["file"] = "file"
    path: Path = Field(description="A ledger folder, or Parquet with its columns.")


class RandomRoute(Record):
    """Chance decides, anew in each step."""

    kind: Literal["random"] = "random"
    untrusted: Share = 0.30
    pi: Share = 0.30


Deciles = Annotated[tuple[Share, ...], Field(min_length=10, max_length=10)]
_LATE: tuple[float, ...] = (0.0,) * 7 + (1.0,) * 3


class DepthRoute(Record):
    """How far into the trajectory a state is decides: a chance for each tenth of its tokens."""

    kind: Literal["depth"] = "depth"
    untrusted: Deciles = _LATE
    pi: Deciles = _LATE


AnyRoute = Annotated[
    AdaptiveRoute | FileRoute | RandomRoute | DepthRoute, Field(discriminator="kind")
]


class LedgerSettings(Record):
    """Which decisions are written down, in `<out>/ledger/`."""

    states_per_trajectory: int | None = Field(
        256, ge=0, description="Drawn evenly, besides all anchors; null: all of them."
    )


def with_presets(values: Any) -> Any:
    """Settings with those of the presets below them. Raises ValueError for an unknown preset."""
    if not isinstance(values, dict):
        return values
    names = values.get("preset", ())
    found: dict[str, Any] = {}
    for name in [names] if isinstance(names, str) else names:
        if name not in PRESETS:
            raise ValueError(f"no preset {name!r}: there are {', '.join(PRESETS)}")
        found |= PRESETS[name]
    return found | values
