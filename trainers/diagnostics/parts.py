"""What was measured of each trajectory, kept by content, so that a killed diagnosis continues."""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

Part = dict[str, NDArray[Any]]
VERSION = 1  # of what is measured: another one measures anew


def part_key(**facts: Any) -> str:
    """The digest of everything that decides a part."""
    text = json.dumps({"version": VERSION, **facts}, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


class Parts:
    """A folder of parts by key."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def get(self, key: str) -> Part | None:
        """What was put, or none; a damaged file counts as none, and is written anew."""
        try:
            return dict(load_file(self._path(key)))
        except (FileNotFoundError, SafetensorError):
            return None

    def put(self, key: str, part: Mapping[str, NDArray[Any]]) -> None:
        """Keep a part. Raises OSError when it cannot be written."""
        self._folder.mkdir(parents=True, exist_ok=True)
        draft = self._folder / f".{key}.{os.getpid()}"
        try:
            save_file({name: np.ascontiguousarray(each) for name, each in part.items()}, draft)
            draft.replace(self._path(key))
        except SafetensorError as error:
            raise OSError(f"{self._path(key)} could not be written: {error}") from None
        finally:
            draft.unlink(missing_ok=True)

    def _path(self, key: str) -> Path:
        return self._folder / f"{key}.safetensors"
