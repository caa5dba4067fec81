"""A checkpoint is whole or refused; earlier ones stay when one cannot be written."""

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch

from trainers.engine.checkpoints import Checkpoint, CheckpointFolder, join_state, split_state
from trainers.engine.errors import CheckpointError


def checkpoint(value: float) -> Checkpoint:
    return Checkpoint({"weights": torch.full((64,), value)}, {"number": value})


def newest(checkpoints: CheckpointFolder, *, skip_damaged: bool = False) -> tuple[int, Checkpoint]:
    found = checkpoints.read(skip_damaged=skip_damaged)
    assert found is not None
    return found


def written(folder: Path, *steps: int, keep: int = 2) -> CheckpointFolder:
    checkpoints = CheckpointFolder(folder, keep)
    for step in steps:
        checkpoints.write(step, checkpoint(step / 10))
    return checkpoints


def test_the_newest_is_read_and_old_ones_go(tmp_path: Path) -> None:
    checkpoints = written(tmp_path, 5, 10, 1_000_000, keep=2)
    assert checkpoints.steps() == [10, 1_000_000]
    step, found = newest(checkpoints)
    assert step == 1_000_000
    assert torch.equal(found.tensors["weights"], torch.full((64,), 100_000.0))
    assert found.state == {"number": 100_000.0}
    assert CheckpointFolder(tmp_path / "none", 1).read(skip_damaged=False) is None


@pytest.mark.parametrize("name", ["tensors.safetensors", "state.json", "manifest.json"])
@pytest.mark.parametrize("damage", ["truncated", "changed", "missing"])
def test_a_damaged_one_is_refused_and_named(tmp_path: Path, name: str, damage: str) -> None:
    checkpoints = written(tmp_path, 1, 2)
    file = checkpoints.path(2) / name
    whole = file.read_bytes()
    if damage == "missing":
        file.unlink()
    else:
        flipped = whole[:-9] + bytes([whole[-9] ^ 1]) + whole[-8:]
        file.write_bytes(whole[: len(whole) // 2] if damage == "truncated" else flipped)
    with pytest.raises(
        CheckpointError, match=rf"{checkpoints.path(2)} is damaged: .*--skip-damaged"
    ):
        checkpoints.read(skip_damaged=False)
    step, found = newest(checkpoints, skip_damaged=True)
    assert (step, found.state) == (1, {"number": 0.1})


def test_an_unfinished_one_is_not_seen(tmp_path: Path) -> None:
    checkpoints = written(tmp_path, 1)
    (tmp_path / "draft-000002").mkdir()
    (tmp_path / "step-000003.old").mkdir()
    assert checkpoints.steps() == [1]
    checkpoints.write(2, checkpoint(0.2))
    assert checkpoints.steps() == [1, 2]


def test_a_full_disk_leaves_the_ones_before(tmp_path: Path) -> None:
    checkpoints = written(tmp_path, 1)
    large = Checkpoint({"weights": torch.zeros(100_000)}, {})
    with (
        files_of_at_most(100_000),
        pytest.raises(CheckpointError, match=r"step-000002 could not be written: .*Make room and"),
    ):
        checkpoints.write(2, large)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-000001"]
    checkpoints.write(2, large)
    assert checkpoints.steps() == [1, 2]


def test_state_of_methods_survives(tmp_path: Path) -> None:
    state = {
        "windows": {"ρ": {"ring": np.arange(3.0), "seen": 7}, "κ": {}},
        "counts": torch.tensor([1, 2]),
        "list": [1, 2.5, None],
        "empty": {},
    }
    tensors, rest = split_state(state, "method.")
    assert sorted(tensors) == ["method.counts", "method.windows.ρ.ring"]
    checkpoints = CheckpointFolder(tmp_path, 1)
    checkpoints.write(1, Checkpoint(tensors, rest))
    _, found = newest(checkpoints)
    joined = join_state(found.state, found.tensors)
    np.testing.assert_array_equal(joined["windows"]["ρ"].pop("ring"), np.arange(3.0))
    assert joined.pop("counts").tolist() == [1, 2]
    assert joined == {"windows": {"ρ": {"seen": 7}, "κ": {}}, "list": [1, 2.5, None], "empty": {}}


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """What the system does to a writer when there is no room."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
