"""Cells: how the two gates part the states of trajectories, by how deep they lie.

Shapes: S states.
"""

from typing import TypedDict

import numpy as np
from numpy.typing import NDArray

from trainers.diagnostics.agreement import Names
from trainers.diagnostics.intervals import Number, bootstrap_mean

CELLS = ("A", "B", "C", "D")  # trusted; trusted with PI; untrusted; untrusted with PI
Bools = NDArray[np.bool_]


class DepthRow(TypedDict):
    """States of one tenth of their trajectories, the beginning first."""

    decile: int
    n: int
    counts: dict[str, int]
    shares: dict[str, Number]


def cell_of(trusted: Bools, pi_active: Bools) -> NDArray[np.intp]:
    """The cell of each state, as a place in `CELLS`. Source: CHOP App. J.10."""
    return (2 * ~trusted + pi_active).astype(np.intp)


def depths(states: int) -> NDArray[np.intp]:
    """The depth decile, from 0, of each of a trajectory's states, as even as can be."""
    return np.arange(states) * 10 // max(1, states)


def cells_by_depth(
    cells: NDArray[np.intp], depth: NDArray[np.intp], clusters: Names
) -> list[DepthRow]:
    """Counts and shares of the cells in each depth decile that has states."""
    names = np.asarray(clusters)
    rows = []
    for number in range(10):
        inside = depth == number
        if not inside.any():
            continue
        members = [(name, cells[inside] == place) for place, name in enumerate(CELLS)]
        rows.append(
            DepthRow(
                decile=number + 1,
                n=int(inside.sum()),
                counts={name: int(member.sum()) for name, member in members},
                shares={
                    name: bootstrap_mean(member.astype(np.float64), names[inside])
                    for name, member in members
                },
            )
        )
    return rows
