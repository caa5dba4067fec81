"""Group-relative policy optimisation on the outcome of real grading."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from trainers.data.errors import DataError
from trainers.data.packing import Columns
from trainers.data.trajectories import Trajectory
from trainers.losses.divergences import log_probs
from trainers.methods.base import Method, Role
from trainers.methods.importance import (
    Sampler,
    importance_ratio,
    require_sampled,
    sampler_log_probs,
)
from trainers.methods.likelihood import chosen

_OTHERWISE = ", or set method.sampler to 'rollout' and `rollout:` to the model that sampled"


class GRPO(Method):
    """`-w · min(r·A, clip(r, 1-ε, 1+ε)·A)`, A an attempt's outcome relative to its instance's.

    r is the ratio of the student to what it was when it sampled, both at temperature 1, and w the
    ratio of what it was to the distribution that it was sampled from (temperature, top-p), at most
    `ratio_limit`: both are 1 at the first step of a student that samples from itself. As in DAPO,
    every token weighs the same (the original averages within each attempt first), and there is no
    KL term. Source: Shao et al. 2024, Eq. 3 and §4.1.2; w: Ionides 2008.
    """

    name: Literal["grpo"] = "grpo"
    clip: float = Field(0.2, gt=0, lt=1)
    sampler: Sampler = Sampler.STUDENT
    ratio_limit: float = Field(4.0, gt=1)

    @property
    def roles(self) -> tuple[Role, ...]:
        """The model that sampled, where that is asked for."""
        return (Role.ROLLOUT,) if self.sampler is Sampler.ROLLOUT else ()

    @property
    def share(self) -> float:
        """Only the student's own trajectories."""
        return 1.0

    def prepare(self, trajectories: Sequence[Trajectory]) -> list[Trajectory]:
        """Those of instances whose attempts differ in outcome, each with its advantage."""
        if self.sampler is not Sampler.NOBODY:
            require_sampled(trajectories)
        if self.sampler is not Sampler.ROLLOUT:
            require_log_probs(trajectories, _OTHERWISE)
        scored = with_group_advantages(trajectories)
        kept = [one for one in scored if one.advantage != 0]
        if not kept:
            groups = {one.group for one in scored}
            raise DataError(
                f"none of {len(groups)} instances has both a resolved and an unresolved attempt: "
                "there is nothing to learn; roll out with more seeds, or choose other instances"
            )
        return kept

    def tokens(self, logits: Sequence[Tensor], columns: Columns) -> dict[str, Tensor]:
        """The clipped surrogate; `recorded_gap` is how far the sampler's own record is from now."""
        log_p_all = log_probs(logits[0])
        log_p = chosen(log_p_all, columns.sampled)
        author = log_probs(logits[1]) if self.sampler is Sampler.ROLLOUT else log_p_all.detach()
        before = columns.recorded
        if self.sampler is Sampler.ROLLOUT:
            before = chosen(author, columns.sampled)
        ratio = (log_p - before).exp()
        weight = torch.ones_like(ratio)
        if self.sampler is not Sampler.NOBODY:
            log_mu = sampler_log_probs(author, columns)
            weight = importance_ratio(chosen(author, columns.sampled), log_mu, self.ratio_limit)
        clipped = ratio.clamp(1 - self.clip, 1 + self.clip)
        advantage = columns.advantage
        return {
            "loss": -weight * torch.minimum(ratio * advantage, clipped * advantage),
            "ratio": ratio.detach(),
            "sampler_ratio": weight,
            "clipped": ((ratio - 1) * advantage.sign() > self.clip).float(),
            "recorded_gap": (log_p.detach() - columns.recorded).abs().nan_to_num(0.0),
        }


def with_group_advantages(trajectories: Sequence[Trajectory]) -> list[Trajectory]:
    """Trajectories with their attempt's outcome relative to those at the same instance.

    Raises DataError for one without a grade.
    """
    groups: defaultdict[str, dict[str, float]] = defaultdict(dict)
    for one in trajectories:
        if one.outcome is None:
            raise DataError(
                f"trajectory {one.name} has no grade: run `harness grade` on its run first"
            )
        groups[one.group][attempt_of(one)] = one.outcome
    advantages = {
        attempt: float(advantage)
        for group in groups.values()
        for attempt, advantage in zip(
            group, group_advantages(np.array([*group.values()])), strict=True
        )
    }
    return [replace(one, advantage=advantages[attempt_of(one)]) for one in trajectories]


def group_advantages(outcomes: np.typing.NDArray[np.float64]) -> np.typing.NDArray[np.float64]:
    """`(R - mean) / standard deviation` of a group's attempts; zeros where all agree."""
    spread = outcomes.std()
    if spread == 0:
        return np.zeros(len(outcomes))
    scores: np.typing.NDArray[np.float64] = (outcomes - outcomes.mean()) / spread
    return scores


def attempt_of(one: Trajectory) -> str:
    """The attempt that a trajectory is a part of: it counts once, in however many parts."""
    return one.name.rpartition("#")[0]


def require_log_probs(trajectories: Sequence[Trajectory], otherwise: str = "") -> None:
    """Raise DataError when some token's log-probability was not recorded.

    otherwise: what else would mend it.
    """
    for one in trajectories:
        if np.isnan(one.log_probs[one.positions]).any():
            raise DataError(
                f"trajectory {one.name} has no log-probabilities of its tokens: roll out with an "
                f"endpoint that returns them{otherwise}"
            )
