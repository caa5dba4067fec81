"""Adapters that know nothing."""

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from trainers.adapters.chance import write_random_adapter


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "adapter"
    folder.mkdir()
    factors = {"a.lora_A": torch.arange(12.0).view(3, 4), "a.lora_B": torch.zeros(2, 3)}
    save_file(factors, folder / "adapter_model.safetensors", metadata={"base": "x"})
    (folder / "adapter_config.json").write_text('{"r": 3}')
    return folder


def test_shapes_norms_and_base_are_those_of_the_source(source: Path, tmp_path: Path) -> None:
    for name, seed in (("one", 0), ("same", 0), ("other", 1)):
        write_random_adapter(source, tmp_path / name, seed)
    with safe_open(tmp_path / "one" / "adapter_model.safetensors", "pt") as file:
        assert file.metadata() == {"base": "x"}
        drawn, zeros = file.get_tensor("a.lora_A"), file.get_tensor("a.lora_B")
    assert drawn.norm() == pytest.approx(torch.arange(12.0).norm().item(), rel=1e-6)
    assert abs(torch.corrcoef(torch.stack([drawn.flatten(), torch.arange(12.0)]))[0, 1]) < 0.9
    assert not zeros.any()
    one, same, other = (
        (tmp_path / name / "adapter_model.safetensors").read_bytes()
        for name in ("one", "same", "other")
    )
    assert one == same != other
    card = json.loads((tmp_path / "one" / "training.json").read_text())
    assert card["random"]["seed"] == 0


def test_what_is_no_adapter_is_refused(source: Path, tmp_path: Path) -> None:
    with pytest.raises(FileExistsError, match="name another folder"):
        write_random_adapter(source, source, 0)
    with pytest.raises(ValueError, match="no adapter in peft's format"):
        write_random_adapter(tmp_path, tmp_path / "out", 0)
    assert not (tmp_path / "out").exists()
