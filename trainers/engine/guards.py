"""When a training stops by itself."""

import math
from collections.abc import Sequence

from trainers.engine.config import GuardSettings


class DivergenceGuard:
    """Watches losses: a number that is none, or far above what it lately was, is a divergence."""

    def __init__(self, settings: GuardSettings) -> None:
        self._factor = settings.factor
        self._window = settings.window
        self._recent: list[float] = []

    def problem(self, loss: float, gradient_norm: float) -> str | None:
        """What is wrong with a step, in words; a good step is remembered."""
        if not math.isfinite(loss):
            return f"the loss is {loss}"
        if not math.isfinite(gradient_norm):
            return f"the gradient's norm is {gradient_norm}"
        limit = self._factor * max([1.0, *map(abs, self._recent)])
        if len(self._recent) == self._window and abs(loss) > limit:
            return (
                f"the loss of {loss:.4g} is above {limit:.4g}, {self._factor:g} times the largest "
                f"of the {self._window} steps before"
            )
        self._recent = [*self._recent, loss][-self._window :]
        return None

    def state_dict(self) -> list[float]:
        """What a checkpoint keeps."""
        return self._recent

    def load_state_dict(self, state: Sequence[float]) -> None:
        """Continue from a checkpoint."""
        self._recent = list(state)[-self._window :]
