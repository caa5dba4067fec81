"""Rows: several trajectories behind one another, without padding.

Position ids begin anew with each trajectory, by which the attention of transformers' models keeps
them apart. Shapes: T tokens of a row, N the sampled ones among them.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from trainers.data.trajectories import Trajectory


class Columns(NamedTuple):
    """What is known of each sampled token, `(N,)` each.

    sampled: its id. outcome: R of its trajectory, NaN where not graded. recorded: log-probability
    at temperature 1 when it was sampled, NaN where unknown. temperature, top_p: how it was sampled.
    trajectory: its trajectory's number in the row. number: its own number in the row.
    """

    sampled: Tensor
    outcome: Tensor
    advantage: Tensor
    recorded: Tensor
    temperature: Tensor
    top_p: Tensor
    trajectory: Tensor
    number: Tensor


class Row(NamedTuple):
    """What one forward pass sees.

    ids, positions: `(1, T)`. states: `(N,)`, where the state stands that each sampled token was
    drawn from.
    """

    trajectories: tuple[Trajectory, ...]
    ids: Tensor
    positions: Tensor
    states: Tensor
    columns: Columns

    def to(self, device: torch.device) -> "Row":
        """The same row on a device."""
        return Row(
            self.trajectories,
            self.ids.to(device),
            self.positions.to(device),
            self.states.to(device),
            Columns(*(tensor.to(device) for tensor in self.columns)),
        )


def make_row(trajectories: Sequence[Trajectory]) -> Row:
    """Trajectories behind one another."""
    starts = np.cumsum([0, *(len(each.ids) for each in trajectories)])[:-1]
    sampled = [each.positions for each in trajectories]
    turns = [turn for each in trajectories for turn in each.turns]
    turn_lengths = [turn.end - turn.start for turn in turns]
    lengths = [len(positions) for positions in sampled]

    def each_token(values: Sequence[float], repeats: Sequence[int]) -> Tensor:
        return torch.from_numpy(np.repeat(np.asarray(values, np.float32), repeats))

    columns = Columns(
        sampled=_long([each.ids[at] for each, at in zip(trajectories, sampled, strict=True)]),
        outcome=each_token(
            [np.nan if each.outcome is None else each.outcome for each in trajectories], lengths
        ),
        advantage=each_token([each.advantage for each in trajectories], lengths),
        recorded=torch.from_numpy(
            np.concatenate(
                [each.log_probs[at] for each, at in zip(trajectories, sampled, strict=True)]
            )
        ),
        temperature=each_token([turn.temperature for turn in turns], turn_lengths),
        top_p=each_token([turn.top_p for turn in turns], turn_lengths),
        trajectory=_long([np.repeat(np.arange(len(trajectories)), lengths)]),
        number=torch.arange(sum(lengths)),
    )
    return Row(
        trajectories=tuple(trajectories),
        ids=_long([each.ids for each in trajectories])[None],
        positions=_long([np.arange(len(each.ids)) for each in trajectories])[None],
        states=_long([start + at - 1 for start, at in zip(starts, sampled, strict=True)]),
        columns=columns,
    )


def pack(trajectories: Sequence[Trajectory], row_tokens: int) -> list[list[Trajectory]]:
    """Trajectories in as few rows of `row_tokens` as first fit, decreasing, finds.

    A longer one has a row to itself. The longest rows come first.
    """
    rows: list[list[Trajectory]] = []
    room: list[int] = []
    for one in sorted(trajectories, key=lambda each: (-len(each.ids), each.name)):
        place = next((n for n, left in enumerate(room) if left >= len(one.ids)), len(rows))
        if place == len(rows):
            rows.append([])
            room.append(row_tokens)
        rows[place].append(one)
        room[place] -= len(one.ids)
    return rows


def _long(parts: Sequence[np.typing.NDArray[np.integer]]) -> Tensor:
    return torch.from_numpy(np.concatenate(parts).astype(np.int64))
