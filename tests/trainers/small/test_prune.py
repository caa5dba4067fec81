"""A student out of a teacher."""

import hashlib
import subprocess
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file

from trainers.serving.shipped import shipped_folders
from trainers.small.prune import prune


def test_the_smallest_weights_of_each_matrix_are_zero() -> None:
    layer = torch.nn.Linear(3, 2)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[1.0, -2.0, 3.0], [-4.0, 5.0, -6.0]]))
        layer.bias.fill_(0.1)
    model = torch.nn.ModuleDict({"layer": layer, "embed": torch.nn.Embedding(2, 2)})
    before = model["embed"].state_dict()["weight"].clone()
    prune(model, 0.5)
    assert layer.weight.tolist() == [[0.0, 0.0, 0.0], [-4.0, 5.0, -6.0]]
    assert torch.equal(layer.bias, torch.full((2,), 0.1))
    assert torch.equal(model["embed"].state_dict()["weight"], before)


def test_the_shipped_student_is_the_pruned_teacher(tmp_path: Path) -> None:
    _, teacher = shipped_folders()["repair-teacher"]
    student, folder = shipped_folders()["repair-student"]
    command = [sys.executable, "-m", "trainers.small.prune", str(teacher), str(tmp_path / "made")]
    subprocess.run(command, check=True, capture_output=True)
    made = load_file(tmp_path / "made" / "model.safetensors")
    for name, weight in load_file(folder / "model.safetensors").items():
        assert torch.equal(weight, made[name]), name
    for name, digest in student.files.items():
        if name != "model.safetensors":
            made_file = tmp_path / "made" / name
            assert hashlib.sha256(made_file.read_bytes()).hexdigest() == digest, name
    assert subprocess.run(command, capture_output=True).returncode == 2, "nothing is overwritten"
