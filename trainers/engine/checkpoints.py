"""Checkpoints: folders of safetensors and JSON, whole or not there at all.

`checkpoints/step-000050/` holds `tensors.safetensors` (trained weights, the optimiser's moments,
arrays of the method's state), `state.json` (everything else), and `manifest.json` with the size and
SHA-256 of both. It is written under another name and renamed when it is complete.
"""

import json
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from trainers.engine.errors import CheckpointError
from trainers.serving.shipped import file_sha256

_NAME = re.compile(r"step-(\d{6,})")
_TENSORS, _STATE, _MANIFEST = "tensors.safetensors", "state.json", "manifest.json"


@dataclass(frozen=True)
class Checkpoint:
    """What is kept: tensors by name, and JSON values."""

    tensors: dict[str, Tensor]
    state: dict[str, Any]


class CheckpointFolder:
    """The checkpoints of one training; the newest `keep` of them stay."""

    def __init__(self, folder: Path, keep: int) -> None:
        self._folder = folder
        self._keep = keep

    def steps(self) -> list[int]:
        """The steps that a checkpoint was written after, in order."""
        found = (_NAME.fullmatch(path.name) for path in self._folder.glob("step-*"))
        return sorted(int(match[1]) for match in found if match)

    def path(self, step: int) -> Path:
        """The folder of a step's checkpoint."""
        return self._folder / f"step-{step:06d}"

    def write(self, step: int, checkpoint: Checkpoint) -> None:
        """Write a checkpoint and remove those that are too old.

        Raises CheckpointError when it cannot be written; earlier ones stay as they were.
        """
        draft = self._folder / f"draft-{step:06d}"
        try:
            shutil.rmtree(draft, ignore_errors=True)
            draft.mkdir(parents=True)
            save_file(checkpoint.tensors, draft / _TENSORS)
            (draft / _STATE).write_text(json.dumps(checkpoint.state), encoding="utf-8")
            files = {
                name: {
                    "bytes": (draft / name).stat().st_size,
                    "sha256": file_sha256(draft / name),
                }
                for name in (_TENSORS, _STATE)
            }
            manifest = {"schema_version": 1, "step": step, "files": files}
            (draft / _MANIFEST).write_text(json.dumps(manifest, indent=1), encoding="utf-8")
            for path in [*draft.iterdir(), draft]:
                _flush(path)
            shutil.rmtree(self.path(step), ignore_errors=True)
            draft.rename(self.path(step))
            _flush(self._folder)
        except (OSError, SafetensorError) as error:
            shutil.rmtree(draft, ignore_errors=True)
            free = shutil.disk_usage(self._folder.parent).free // 2**20
            raise CheckpointError(
                f"checkpoint {self.path(step)} could not be written: {error} ({free} MiB are free "
                "there). Make room and run the same command again: it continues from "
                f"{self._latest_name()}"
            ) from None
        for old in self.steps()[: -self._keep]:
            shutil.rmtree(self.path(old), ignore_errors=True)

    def read(self, *, skip_damaged: bool) -> tuple[int, Checkpoint] | None:
        """The newest checkpoint and its step; none where there is none.

        skip_damaged: take the newest that is whole. Otherwise a damaged one raises CheckpointError,
        which names the file.
        """
        for step in reversed(self.steps()):
            try:
                return step, self._read(step)
            except CheckpointError:
                if not skip_damaged:
                    raise
        return None

    def _read(self, step: int) -> Checkpoint:
        folder = self.path(step)
        try:
            manifest = json.loads((folder / _MANIFEST).read_bytes())
            for name, expected in manifest["files"].items():
                size = (folder / name).stat().st_size
                if size != expected["bytes"]:
                    raise ValueError(f"{name} has {size} bytes instead of {expected['bytes']}")
                if file_sha256(folder / name) != expected["sha256"]:
                    raise ValueError(f"{name} has another SHA-256 than its manifest says")
            return Checkpoint(
                load_file(folder / _TENSORS), json.loads((folder / _STATE).read_bytes())
            )
        except (OSError, ValueError, LookupError, SafetensorError) as error:
            raise CheckpointError(
                f"checkpoint {folder} is damaged: {error}. Give --skip-damaged to continue from "
                "the newest one that is whole, or delete the folder"
            ) from None

    def _latest_name(self) -> str:
        steps = self.steps()
        return self.path(steps[-1]).name if steps else "the beginning"


def split_state(state: Mapping[str, Any], prefix: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Nested state as tensors by path, and the rest as JSON. See `join_state`."""
    import numpy as np
    import torch

    tensors: dict[str, Tensor] = {}
    rest: dict[str, Any] = {}
    for key, value in state.items():
        path = f"{prefix}{key}"
        if isinstance(value, Mapping):
            inner, rest[key] = split_state(value, f"{path}.")
            tensors |= inner
        elif isinstance(value, np.ndarray):
            tensors[path] = torch.from_numpy(value.copy())
            rest[key] = {_ARRAY: path}
        elif isinstance(value, Tensor):
            tensors[path] = value.detach().cpu().contiguous()
            rest[key] = {_TENSOR: path}
        else:
            rest[key] = value
    return tensors, rest


def join_state(rest: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """The inverse of `split_state`."""
    joined: dict[str, Any] = {}
    for key, value in rest.items():
        if not isinstance(value, dict):
            joined[key] = value
        elif value.keys() == {_ARRAY}:
            joined[key] = tensors[value[_ARRAY]].numpy()
        elif value.keys() == {_TENSOR}:
            joined[key] = tensors[value[_TENSOR]]
        else:
            joined[key] = join_state(value, tensors)
    return joined


_ARRAY, _TENSOR = "$array", "$tensor"


def _flush(path: Path) -> None:
    """Have the disk really hold a file or a folder."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
