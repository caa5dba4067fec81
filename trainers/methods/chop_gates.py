"""What CHOP's gates remember from step to step."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trainers.gates.reliability import LogisticReliability, Reliability, outcome_free
from trainers.gates.thresholds import StreamingQuantile, representatives
from trainers.methods.chop_settings import (
    AnyReliability,
    AnyThresholds,
    GivenReliability,
    LogisticReliabilitySettings,
    StaticThresholds,
)

Floats = NDArray[np.float64]
Step = Mapping[str, Mapping[str, Floats]]


class Thresholds(NamedTuple):
    """τ and κ*; none in warm-up."""

    reliability: float | None
    pi: float | None


class Gates:
    """Reliability and thresholds, from what was seen before the step.

    With `outcome_free` reliability, everything is trusted until it is calibrated, and its threshold
    begins to be observed then.
    """

    def __init__(
        self,
        reliability: AnyReliability,
        thresholds: AnyThresholds,
        noise_floor: float | None = None,
    ) -> None:
        self._thresholds = thresholds
        self._calibration: list[Floats] = []  # (2, n): entropy, TV
        self._states = getattr(reliability, "states", 0)
        self._per_trajectory = getattr(thresholds, "per_trajectory", 256)
        self.noise_floor = noise_floor
        self.reliability: Reliability | LogisticReliability | None = None
        if isinstance(reliability, GivenReliability):
            self.reliability = Reliability(reliability.entropy_weight, reliability.tv_weight)
        elif isinstance(reliability, LogisticReliabilitySettings):
            self.reliability = LogisticReliability(
                reliability.entropy_slope, reliability.tv_slope, reliability.entropy_maximum
            )
        self._quantiles: dict[str, StreamingQuantile] = {}
        if not isinstance(thresholds, StaticThresholds):
            shared = {
                "window": thresholds.window,
                "per_trajectory": thresholds.per_trajectory,
                "warm_up": thresholds.warm_up,
            }
            wanted = {"rho": thresholds.reliability_quantile, "kappa": thresholds.pi_quantile}
            self._quantiles = {
                name: StreamingQuantile(share, **shared) for name, share in wanted.items()
            }

    @property
    def score(self) -> Callable[[Tensor, Tensor], Tensor]:
        """ρ of states from H(q) and TV(q, p); 1 before calibration."""
        return self.reliability or (lambda entropy, _: torch.ones_like(entropy))

    @property
    def thresholds(self) -> Thresholds:
        """Of the next step."""
        if isinstance(self._thresholds, StaticThresholds):
            static = self._thresholds
            return Thresholds(static.reliability if self.reliability else None, static.pi)
        return Thresholds(self._quantiles["rho"].value, self._quantiles["kappa"].value)

    def observe(self, step: Step) -> None:
        """Take in a step's `rho`, `kappa`, `teacher_entropy` and `tv`, by trajectory."""
        calibrated = self.reliability is not None
        for name, quantile in self._quantiles.items():
            if calibrated or name == "kappa":
                quantile.observe({one: found[name] for one, found in step.items()})
        if not calibrated:
            self._calibrate(step)

    def _calibrate(self, step: Step) -> None:
        for name in sorted(step):
            pair = np.stack([step[name]["teacher_entropy"], step[name]["tv"]])
            self._calibration.append(
                pair[:, representatives(name, pair.shape[1], self._per_trajectory)]
            )
        seen = np.concatenate(self._calibration, axis=1)
        if seen.shape[1] >= self._states and seen[:, : self._states].max(1).min() > 0:
            self.reliability = outcome_free(*seen[:, : self._states])
            self._calibration = []

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        weights = None
        if isinstance(self.reliability, Reliability):
            weights = [self.reliability.entropy_weight, self.reliability.tv_weight]
        seen = np.concatenate([np.empty((2, 0)), *self._calibration], axis=1)
        quantiles = {name: dict(each.state_dict()) for name, each in self._quantiles.items()}
        return {
            "weights": weights,
            "calibration": seen,
            "quantiles": quantiles,
            "noise_floor": self.noise_floor,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a checkpoint."""
        self.noise_floor = state["noise_floor"]
        if state["weights"] is not None:
            self.reliability = Reliability(*state["weights"])
        self._calibration = [np.asarray(state["calibration"])]
        for name, each in self._quantiles.items():
            each.load_state_dict(state["quantiles"][name])
