"""Each sampled token keeps exactly the prefix that it was sampled after."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.records.sequences import Call, Tokens, merge_calls
from trainers.data.trajectories import cut

ids = st.lists(st.integers(0, 2), max_size=4)


def call(prompt: list[int], sampled: list[int], logprobs: list[float] | None = None) -> Call:
    return Call(prompt, sampled, logprobs or [], 0.7, 0.95)


def prefixes(sequences: list[Tokens]) -> list[tuple[int, ...]]:
    """What stands before and at each sampled token."""
    return [
        tuple(one.ids[: at + 1].tolist())
        for one in sequences
        for turn in one.turns
        for at in range(turn.start, turn.end)
    ]


@given(st.lists(st.tuples(ids, ids, st.booleans()), max_size=6))
def test_merging_changes_no_prefix(drawn: list[tuple[list[int], list[int], bool]]) -> None:
    calls: list[Call] = []
    history: list[int] = []
    for prompt, sampled, extends in drawn:
        prompt = history + prompt if extends else prompt
        calls.append(call(prompt, sampled))
        history = prompt + sampled
    expected = [
        (*one.prompt_ids, *one.sampled_ids[: at + 1])
        for one in calls
        for at in range(len(one.sampled_ids))
        if len(one.prompt_ids) + at > 0
    ]
    assert prefixes(merge_calls(calls)) == expected


def test_a_conversation_is_one_sequence() -> None:
    first = call([1, 2], [3, 4], [-0.1, -0.2])
    second = call([1, 2, 3, 4, 5], [6], [-0.3])
    (merged,) = merge_calls([first, second])
    assert merged.ids.tolist() == [1, 2, 3, 4, 5, 6]
    assert [turn[:2] for turn in merged.turns] == [(2, 4), (5, 6)]
    np.testing.assert_allclose(merged.log_probs, [np.nan] * 2 + [-0.1, -0.2, np.nan, -0.3])


@pytest.mark.parametrize("prompt", [[1, 2, 3, 9, 5], [1, 2, 3], [1, 2], []])
def test_a_changed_history_begins_a_sequence(prompt: list[int]) -> None:
    merged = merge_calls([call([1, 2], [3, 4]), call(prompt, [6, 7])])
    assert [one.ids.tolist() for one in merged] == [[1, 2, 3, 4], [*prompt, 6, 7]]


def test_cut_keeps_the_turns_that_are_left() -> None:
    (merged,) = merge_calls([call([1, 2], [3, 4, 5]), call([1, 2, 3, 4, 5, 6], [7])])
    short = cut(merged, 4)
    assert short.ids.tolist() == [1, 2, 3, 4]
    assert [turn[:2] for turn in short.turns] == [(2, 4)]
    assert len(short.log_probs) == 4
    assert cut(merged, 2).turns == ()
