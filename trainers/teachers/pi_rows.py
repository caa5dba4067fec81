"""Which token sequences a teacher with PI has to see for the states of a trajectory.

Shapes: T tokens of a row, M of a trajectory's N sampled tokens.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainers.data.contexts import pi_block, with_block
from trainers.data.trajectories import Ids, Trajectory
from trainers.engine.config import Composition, Interface

BASE = "__base__"


@dataclass(frozen=True, eq=False)
class PIRow:
    """One sequence for one forward pass.

    adapter: what is switched on: `BASE`, a source's name, or several joined. sources: whose PI it
    is. ids: `(T,)`. states: `(M,)`, where to read. tokens: `(M,)`, which of the trajectory's
    sampled tokens these are the states before.
    """

    adapter: str
    sources: tuple[str, ...]
    ids: Ids
    states: NDArray[np.int64]
    tokens: NDArray[np.int64]


@dataclass(frozen=True)
class PIRows:
    """How PI becomes rows. tokenizer: the teacher's."""

    tokenizer: Any
    interface: Interface
    composition: Composition

    def of(self, trajectory: Trajectory, texts: Mapping[str, tuple[str, ...]]) -> list[PIRow]:
        """The base's row, then those of PI: one for each source (or each set of sources, composed
        by weights) and each text that it has at some turn. No text, no row.

        texts: by source, one for each turn.
        """
        blocks = {text: self.block(text) for each in texts.values() for text in {*each} - {""}}
        groups: dict[tuple[tuple[str, ...], tuple[int, ...]], list[int]] = {}
        for turn in range(len(trajectory.turns)):
            present = [name for name in sorted(texts) if texts[name][turn]]
            for sources in self._together(present):
                block = tuple(one for name in sources for one in blocks[texts[name][turn]])
                groups.setdefault((sources, block), []).append(turn)
        everything = self._row(trajectory, (), (), list(range(len(trajectory.turns))))
        return [everything] + [
            self._row(trajectory, sources, block, turns)
            for (sources, block), turns in sorted(groups.items())
        ]

    def block(self, text: str) -> list[int]:
        """What stands in front of the prompt for a text that is not empty."""
        if self.interface is Interface.WEIGHTS_ONLY:
            return []
        return pi_block(self.tokenizer, "" if self.interface is Interface.NO_PI else text)

    def adapter(self, sources: tuple[str, ...]) -> str:
        """What is switched on for sources."""
        off = not sources or self.interface is Interface.PROMPT
        return BASE if off else "+".join(sources)

    def _together(self, present: list[str]) -> list[tuple[str, ...]]:
        if self.composition is Composition.WEIGHTS and present:
            return [tuple(present)]
        return [(name,) for name in present]

    def _row(
        self,
        trajectory: Trajectory,
        sources: tuple[str, ...],
        block: tuple[int, ...],
        turns: list[int],
    ) -> PIRow:
        sizes = [turn.end - turn.start for turn in trajectory.turns]
        firsts = np.cumsum([0, *sizes])
        chosen = [trajectory.turns[number] for number in turns]
        at = [np.arange(turn.start, turn.end) for turn in chosen]
        tokens = [np.arange(firsts[number], firsts[number] + sizes[number]) for number in turns]
        ids = trajectory.ids[: max(turn.end for turn in chosen) - 1]
        return PIRow(
            adapter=self.adapter(sources),
            sources=sources,
            ids=with_block(ids, block, self.tokenizer),
            states=np.concatenate(at) - 1 + len(block),
            tokens=np.concatenate(tokens),
        )
