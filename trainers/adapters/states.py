"""States with expert actions, and their PI, to measure adapters in."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from trainers.data.contexts import PIContexts
from trainers.data.errors import DataError
from trainers.data.trajectories import Trajectory
from trainers.data.triples import expert_rows, expert_trajectory, texts_by_state


@dataclass(frozen=True)
class ExpertStates:
    """Trajectories without PI whose sampled tokens are expert actions, and the PI of each."""

    trajectories: list[Trajectory]
    texts: list[dict[str, str]]

    def having(self, sources: Sequence[str]) -> list[Trajectory]:
        """Those in which each of the sources has something to say."""
        return [
            one
            for one, texts in zip(self.trajectories, self.texts, strict=True)
            if all(texts.get(name) for name in sources)
        ]

    def contexts(self) -> PIContexts:
        """The PI, as teachers read it."""
        known: dict[tuple[str, str, int], dict[tuple[int, str], str]] = {}
        for number, (one, texts) in enumerate(zip(self.trajectories, self.texts, strict=True)):
            turn = one.turns[0].number
            known["states", one.group, number] = {
                (turn, name): text for name, text in texts.items()
            }
        return PIContexts(known, "the triples", lenient=True)


def read_states(
    files: Sequence[Path], tokenizer: Any, *, max_tokens: int, most: int
) -> ExpertStates:
    """At most `most` states of files of triples, chosen and ordered by a hash of their ids.

    Raises DataError as `read_triples` does, and where no state is left.
    """
    texts = texts_by_state(files)
    chosen = sorted(texts, key=lambda one: hashlib.sha256(one.encode()).digest())
    order = {row_id: number for number, row_id in enumerate(chosen)}
    found: dict[int, Trajectory] = {}
    for path in files:
        for row in expert_rows(path):
            number = order[row["id"]]
            if number < most and number not in found:
                found[number] = expert_trajectory(path, row, tokenizer, (), row["id"])
    kept = [number for number in sorted(found) if len(found[number].ids) <= max_tokens]
    if not kept:
        raise DataError(
            f"no state with at most {max_tokens} tokens in {', '.join(map(str, files))}: give "
            "other triples, or a larger max_tokens"
        )
    trajectories = [
        replace(found[number], name=f"states/{found[number].group}/{place}#0")
        for place, number in enumerate(kept)
    ]
    return ExpertStates(trajectories, [texts[chosen[number]] for number in kept])
