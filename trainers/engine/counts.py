"""How much a training asks of its teachers."""

from collections.abc import Iterable
from typing import Any

from torch import Tensor, nn


class TokenCount:
    """Tokens that models were run on since the count was last taken: prompts, PI and sampled
    segments, padding included; what comes from a cache is not run.
    """

    def __init__(self, models: Iterable[Any]) -> None:
        self._count = 0
        for model in models:
            model.get_input_embeddings().register_forward_pre_hook(self._add)

    def take(self) -> int:
        """The count; it starts again at 0."""
        count, self._count = self._count, 0
        return count

    def _add(self, module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        self._count += inputs[0].numel()
