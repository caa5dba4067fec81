"""PI texts are found by run, instance, seed, turn and source; what is not there is said."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from tests.trainers.data.contexts_on_disk import write_contexts
from trainers.data.contexts import read_contexts
from trainers.data.errors import DataError
from trainers.data.trajectories import Trajectory, Turn

ROWS = [
    ("r/1", "o__i", 3, 1, "next_file", "a.py"),
    ("r/1", "o__i", 3, 2, "next_file", "b.py"),
    ("r/1", "o__i", 3, 1, "call_graph", "f -> g"),
    ("r/1", "o__i", 3, 2, "call_graph", ""),
    ("r/1", "o__i", 4, 1, "next_file", "c.py"),
    ("r/1", "o__j", 3, 1, "next_file", "d.py"),
    ("r/2", "o__i", 3, 1, "next_file", "e.py"),
]


def trajectory(name: str, *turns: int) -> Trajectory:
    ids = np.arange(3 * len(turns), dtype=np.int32)
    places = tuple(Turn(3 * n + 1, 3 * n + 3, 1, 1, number) for n, number in enumerate(turns))
    return Trajectory(name, "o__i", "student", ids, places, np.zeros(len(ids), np.float32))


def test_each_turn_has_its_text(tmp_path: Path) -> None:
    path = write_contexts(tmp_path / "a.parquet", ROWS)
    contexts = read_contexts([path], ["next_file", "call_graph"])
    assert contexts.of(trajectory("r/1/o__i/3#0", 1, 2), "next_file") == ("a.py", "b.py")
    assert contexts.of(trajectory("r/1/o__i/3#1", 2), "next_file") == ("b.py",)
    assert contexts.of(trajectory("r/1/o__i/3#0", 1, 2), "call_graph") == ("f -> g", "")
    for name, text in (("r/1/o__i/4", "c.py"), ("r/1/o__j/3", "d.py"), ("r/2/o__i/3", "e.py")):
        assert contexts.of(trajectory(f"{name}#0", 1), "next_file") == (text,)


def test_what_is_missing_is_an_error_that_names_it(tmp_path: Path) -> None:
    path = write_contexts(tmp_path / "a.parquet", ROWS)
    one = trajectory("r/1/o__j/3#0", 1, 5)
    with pytest.raises(
        DataError,
        match=rf"{path}: no PI of source 'next_file' for instance o__j.*turn 5.*pi\.missing",
    ):
        read_contexts([path], ["next_file"]).of(one, "next_file")
    assert read_contexts([path], ["next_file"], lenient=True).of(one, "next_file") == ("d.py", "")
    with pytest.raises(DataError, match="trajectory 'odd' is of no run"):
        read_contexts([path], ["next_file"]).of(trajectory("odd", 1), "next_file")
    with pytest.raises(DataError, match=r"no row of source 'gold_patch' \(there are: call_graph"):
        read_contexts([path], ["gold_patch"])


def test_files_that_are_none_are_refused(tmp_path: Path) -> None:
    path = write_contexts(tmp_path / "a.parquet", ROWS)
    other = write_contexts(tmp_path / "b.parquet", [(*ROWS[0][:5], "x.py")])
    with pytest.raises(DataError, match=f"{other}: two texts of 'next_file' for instance o__i"):
        read_contexts([path, other], ["next_file"])
    read_contexts([path, path], ["next_file"])
    other.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DataError, match=f"{other}: not a readable file of PI contexts"):
        read_contexts([other], ["next_file"])
    pq.write_table(pq.read_table(path).drop_columns(["turn"]), other)
    with pytest.raises(DataError, match="no column 'turn'"):
        read_contexts([other], ["next_file"])
