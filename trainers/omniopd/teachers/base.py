"""One ask after another: what the kinds of text teachers have in common."""

from collections.abc import Sequence
from typing import Protocol

from trainers.omniopd.texts import Answer, Ask


class Continuer(Protocol):
    """Answers single asks, from `concurrency` threads at once."""

    @property
    def identity(self) -> dict[str, str]:
        """See `TextTeacher`."""
        ...

    @property
    def concurrency(self) -> int:
        """How many asks it takes at once."""
        ...

    def check(self, asks: Sequence[Ask]) -> None:
        """Raise TeacherError, before anything is paid, for what it cannot do."""
        ...

    def answer(self, ask: Ask, count: int, seed: int) -> Answer:
        """N continuations of a text, drawn by a seed where it can. Raises TeacherError."""
        ...


def most_tokens(ask: Ask, length_factor: float) -> int:
    """How many tokens a continuation may have, counted by the teacher."""
    return max(1, round(ask.tokens * length_factor))
