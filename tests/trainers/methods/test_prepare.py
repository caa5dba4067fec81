"""Which trajectories a method takes, and what it refuses."""

from dataclasses import replace

import numpy as np
import pytest

from trainers.data.errors import DataError
from trainers.data.trajectories import Trajectory, Turn
from trainers.methods.grpo import GRPO, group_advantages
from trainers.methods.sampled_token_opd import SampledTokenOPD
from trainers.methods.sequence_kd import SequenceKD
from trainers.methods.sft import SFT


def trajectory(name: str, outcome: int | None, temperature: float = 0.7) -> Trajectory:
    return Trajectory(
        name=name,
        group=name.split("/")[1],
        author="student",
        ids=np.array([1, 2, 3], np.int32),
        turns=(Turn(1, 3, temperature, 0.95),),
        log_probs=np.array([np.nan, -1, -1], np.float32),
        outcome=outcome,
    )


def test_sft_takes_the_resolved_ones() -> None:
    ones = [trajectory("r/i/0#0", 1), trajectory("r/i/1#0", 0), trajectory("r/i/2#0", None)]
    assert [one.name for one in SFT().prepare(ones)] == ["r/i/0#0"]
    assert len(SFT(resolved_only=False).prepare(ones)) == 3
    with pytest.raises(DataError, match="none of 2 trajectories is resolved"):
        SFT().prepare(ones[1:])
    assert SequenceKD().share == 0


def test_advantages_are_of_mean_zero_and_variance_one() -> None:
    found = group_advantages(np.array([1.0, 0, 0, 0]))
    np.testing.assert_allclose(found, [3**0.5, *[-(3**-0.5)] * 3])
    assert group_advantages(np.array([1.0, 1])).tolist() == [0, 0]


def test_grpo_compares_attempts_at_one_instance() -> None:
    ones = [
        trajectory("r/a/0#0", 1),
        trajectory("r/a/1#0", 0),
        trajectory("r/a/1#1", 0),
        trajectory("r/a/1#2", 0),
        trajectory("r/b/0#0", 1),
        trajectory("r/b/1#0", 1),
    ]
    kept = {one.name: one.advantage for one in GRPO().prepare(ones)}
    assert kept == {"r/a/0#0": 1, "r/a/1#0": -1, "r/a/1#1": -1, "r/a/1#2": -1}
    with pytest.raises(DataError, match="both a resolved and an unresolved"):
        GRPO().prepare(ones[4:])
    with pytest.raises(DataError, match="r/a/2#0 has no grade"):
        GRPO().prepare([*ones, trajectory("r/a/2#0", None)])


def test_samples_of_nothing_and_of_nobody_knows_what_are_refused() -> None:
    greedy = trajectory("r/a/0#0", 1, temperature=0)
    for method in (GRPO(), SampledTokenOPD()):
        with pytest.raises(DataError, match="r/a/0#0 was decoded at temperature 0"):
            method.prepare([greedy])
    unrecorded = replace(trajectory("r/a/0#0", 1), log_probs=np.full(3, np.nan, np.float32))
    with pytest.raises(DataError, match="r/a/0#0 has no log-probabilities"):
        GRPO().prepare([unrecorded, trajectory("r/a/1#0", 0)])
