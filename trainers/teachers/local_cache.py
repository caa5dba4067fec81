"""Hidden states on disk, by content."""

import os
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

_NAME = "hidden"


class HiddenStateCache:
    """A folder of hidden states `(N, D)` by key. Several processes may share it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def get(self, key: str, dtype: torch.dtype) -> Tensor | None:
        """What was put, or none; a damaged file counts as none, and is written anew."""
        try:
            found = load_file(self._path(key))[_NAME]
        except (FileNotFoundError, SafetensorError, KeyError):
            return None
        return found if found.dtype is dtype else None

    def put(self, key: str, states: Tensor) -> None:
        """Keep states. A file that cannot be written is left out: it can be computed again."""
        path = self._path(key)
        draft = path.with_suffix(f".{os.getpid()}.draft")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            save_file({_NAME: states.contiguous().cpu()}, draft)
            draft.replace(path)
        except (OSError, SafetensorError):
            draft.unlink(missing_ok=True)

    def _path(self, key: str) -> Path:
        return self._folder / key[:2] / f"{key}.safetensors"
