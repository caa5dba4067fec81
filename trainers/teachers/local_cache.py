"""Hidden states on disk, by content."""

from pathlib import Path

import torch
from torch import Tensor

from trainers.teachers.tensor_cache import TensorCache

_NAME = "hidden"


class HiddenStateCache:
    """A folder of hidden states `(N, D)` by key. Several processes may share it."""

    def __init__(self, folder: Path) -> None:
        self._cache = TensorCache(folder)

    def get(self, key: str, dtype: torch.dtype) -> Tensor | None:
        """What was put, or none; a damaged file counts as none, and is written anew."""
        found = (self._cache.get(key) or {}).get(_NAME)
        return found if found is not None and found.dtype is dtype else None

    def put(self, key: str, states: Tensor) -> None:
        """Keep states. A file that cannot be written is left out: it can be computed again."""
        self._cache.put(key, {_NAME: states})
