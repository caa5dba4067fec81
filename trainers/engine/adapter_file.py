"""Writing an adapter's weights so that the same weights are the same bytes."""

import json
from collections.abc import Mapping
from pathlib import Path

from safetensors.torch import save
from torch import Tensor

_LENGTH = 8  # bytes before the header that say how long it is; the header is padded to them


def save_adapter(tensors: Mapping[str, Tensor], path: Path, metadata: Mapping[str, str]) -> None:
    """Write a safetensors file with its metadata in order: `save_file` leaves that to chance."""
    data = save(dict(tensors), dict(metadata))
    end = _LENGTH + int.from_bytes(data[:_LENGTH], "little")
    header = json.loads(data[_LENGTH:end])
    header["__metadata__"] = dict(sorted(metadata.items()))
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % _LENGTH)
    path.write_bytes(len(text).to_bytes(_LENGTH, "little") + text + data[end:])
