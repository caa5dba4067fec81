"""What a hidden-state server and its clients send each other: tensors as safetensors bytes.

Shapes: T tokens of a row, M states that are read of it.
"""

import json
from collections.abc import Sequence

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from trainers.teachers.pi_rows import PIRow

KIND = "application/vnd.safetensors"
IDENTITY_HEADER = "X-Model-SHA256"


def rows_to_bytes(rows: Sequence[PIRow]) -> bytes:
    """Rows: `ids.0` `(T,)`, `states.0` `(M,)`, …; adapters by number as metadata."""
    tensors: dict[str, Tensor] = {}
    for number, row in enumerate(rows):
        tensors[f"ids.{number}"] = torch.from_numpy(row.ids.astype(np.int32))
        tensors[f"states.{number}"] = torch.from_numpy(row.states.astype(np.int64))
    return save(tensors, {"adapters": json.dumps([row.adapter for row in rows])})


def rows_from_bytes(data: bytes) -> list[PIRow]:
    """The rows again, without what only their owner knows. Raises ValueError for anything else."""
    try:
        tensors = load(data)
        size = int.from_bytes(data[:8], "little")
        facts = json.loads(data[8 : 8 + size])["__metadata__"]
        adapters = [str(one) for one in json.loads(facts["adapters"])]
        rows = [
            PIRow(
                adapter=adapter,
                sources=(),
                ids=tensors[f"ids.{number}"].numpy(),
                states=tensors[f"states.{number}"].numpy(),
                tokens=np.empty(0, np.int64),
            )
            for number, adapter in enumerate(adapters)
        ]
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"no rows: {error!r}") from None
    for row in rows:
        if row.ids.dtype != np.int32 or row.states.dtype != np.int64:
            raise ValueError("ids have to be int32, states int64")
        if not row.ids.ndim == row.states.ndim == 1 or not len(row.ids) or not len(row.states):
            raise ValueError("ids and states have to be lists that are not empty")
        if row.states.min() < 0 or row.states.max() >= len(row.ids) or row.ids.min() < 0:
            raise ValueError("a state outside its row, or a negative id")
    return rows


def tensors_to_bytes(tensors: Sequence[Tensor]) -> bytes:
    """Tensors in order."""
    return save({str(n): each.detach().cpu().contiguous() for n, each in enumerate(tensors)})


def tensors_from_bytes(data: bytes) -> list[Tensor]:
    """The tensors again. Raises ValueError for anything else."""
    try:
        found = load(data)
        return [found[str(number)] for number in range(len(found))]
    except (SafetensorError, KeyError) as error:
        raise ValueError(f"no tensors: {error!r}") from None
