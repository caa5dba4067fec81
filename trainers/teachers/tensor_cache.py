"""Tensors on disk, by content."""

import os
from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor


class TensorCache:
    """A folder of named tensors by key. Several processes may share it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def get(self, key: str) -> dict[str, Tensor] | None:
        """What was put, or none; a damaged file counts as none, and is written anew."""
        try:
            return load_file(self._path(key))
        except (FileNotFoundError, SafetensorError):
            return None

    def put(self, key: str, tensors: Mapping[str, Tensor]) -> bool:
        """Keep tensors; false where the file cannot be written, and they are not kept."""
        path = self._path(key)
        draft = path.with_suffix(f".{os.getpid()}.draft")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            save_file({name: each.contiguous().cpu() for name, each in tensors.items()}, draft)
            draft.replace(path)
        except (OSError, SafetensorError):
            draft.unlink(missing_ok=True)
            return False
        return True

    def _path(self, key: str) -> Path:
        return self.folder / key[:2] / f"{key}.safetensors"
