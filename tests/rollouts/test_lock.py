"""A run resumes only on the inputs it began with."""

import json
from pathlib import Path
from typing import Any

import pytest

from harness.rollouts.lock import LockMismatchError, RunLock, add_images, write_or_check


def _lock(**changes: Any) -> RunLock:
    facts: dict[str, Any] = {
        "suite_sha256": "s",
        "instances_sha256": "i",
        "images": {"a": "sha256:1", "b": "sha256:2"},
        "method_sha256": "m",
        "model": None,
        "predictions_sha256": None,
        "seeds": (0,),
        "budget": {"turns": 50},
        "decoding": {},
        "limits": {},
        "grading": {"early_exit": False},
        "sandbox": "docker",
        "agent": {},
        "grader": "g",
        "packages": {"swebench": "5.0.2"},
    }
    return RunLock.model_validate(facts | changes)


def test_the_same_inputs_pass(tmp_path: Path) -> None:
    path = tmp_path / "lock.json"
    write_or_check(path, _lock())
    write_or_check(path, _lock())


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"images": {"a": "sha256:9", "b": "sha256:2"}}, r"images\.a: was sha256:1, is sha256:9"),
        ({"images": {"a": "sha256:1"}}, r"images\.b: was sha256:2, is None"),
        ({"seeds": (0, 1)}, r"seeds: was \[0\], is \[0, 1\]"),
        ({"grading": {"early_exit": True}}, r"grading\.early_exit: was False, is True"),
        ({"model": {"sha256": "x"}}, "model: was None"),
    ],
)
def test_a_change_is_refused_by_name(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    path = tmp_path / "lock.json"
    write_or_check(path, _lock())
    before = path.read_bytes()
    with pytest.raises(LockMismatchError, match=said):
        write_or_check(path, _lock(**changes))
    assert path.read_bytes() == before


def test_images_that_come_later_are_locked_too(tmp_path: Path) -> None:
    path = tmp_path / "lock.json"
    write_or_check(path, _lock(images={}))
    add_images(path, {"a": "sha256:1"})
    add_images(path, {"a": "sha256:1", "b": "sha256:2"})
    write_or_check(path, _lock(images={}))
    assert json.loads(path.read_text())["images"] == {"a": "sha256:1", "b": "sha256:2"}
    with pytest.raises(LockMismatchError, match=r"images\.b: was sha256:2, is sha256:3"):
        add_images(path, {"b": "sha256:3"})
