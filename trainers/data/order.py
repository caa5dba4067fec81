"""In which order trajectories are trained on."""

from collections.abc import Mapping

import numpy as np


class Cursor:
    """An endless, seeded order of students' and teachers' trajectories that can be resumed.

    Each draw takes the student's next trajectory with a probability of `student_share`, else the
    teacher's; both go through all they have, shuffled anew, before one comes again. Trajectories
    are numbered, the student's first. Source: Agarwal et al. 2024 (GKD), Alg. 1, with λ the share.

    Raises ValueError when a share asks for trajectories that are not there.
    """

    def __init__(self, student: int, teacher: int, *, student_share: float, seed: int) -> None:
        wanted = [(student_share > 0, student, "student"), (student_share < 1, teacher, "teacher")]
        for needed, there, author in wanted:
            if needed and not there:
                raise ValueError(
                    f"a student's share of {student_share} needs trajectories of the {author}"
                )
        self._sizes = (student, teacher)
        self._share = student_share
        self._seed = seed
        self._drawn = [0, 0]

    def draw(self, count: int) -> list[int]:
        """The numbers of the next `count` trajectories."""
        return [self._next() for _ in range(count)]

    def from_the_start(self, count: int) -> list[int]:
        """The first `count` numbers that are or were drawn; the order goes on where it is."""
        kept, self._drawn = self._drawn, [0, 0]
        numbers = self.draw(count)
        self._drawn = kept
        return numbers

    def _next(self) -> int:
        chance = np.random.default_rng([self._seed, 2, sum(self._drawn)]).random()
        author = 0 if chance < self._share else 1
        epoch, place = divmod(self._drawn[author], self._sizes[author])
        order = np.random.default_rng([self._seed, author, epoch]).permutation(self._sizes[author])
        self._drawn[author] += 1
        return int(order[place]) + (self._sizes[0] if author else 0)

    def state_dict(self) -> dict[str, int]:
        """What a checkpoint keeps."""
        return {"student": self._drawn[0], "teacher": self._drawn[1]}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Continue from a checkpoint."""
        self._drawn = [state["student"], state["teacher"]]
