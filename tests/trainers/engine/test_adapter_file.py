from pathlib import Path

import torch
from safetensors import safe_open

from trainers.engine.adapter_file import save_adapter

METADATA = {"format": "pt", "base": "ab" * 32, "source": "π", "triples": "cd" * 32, "a": "1"}


def test_the_same_weights_are_the_same_bytes_and_read_as_they_were(tmp_path: Path) -> None:
    tensors = {f"layers.{n}.lora_A": torch.randn(3, n + 1) for n in range(4)}
    tensors["half"] = torch.randn(5, dtype=torch.bfloat16)
    files = [tmp_path / f"{number}.safetensors" for number in range(8)]
    for path in files:
        save_adapter(tensors, path, METADATA)
    assert len({path.read_bytes() for path in files}) == 1
    with safe_open(files[0], "pt") as found:
        assert found.metadata() == METADATA
        assert set(found.keys()) == set(tensors)
        assert all(torch.equal(found.get_tensor(name), each) for name, each in tensors.items())
