"""The index of a folder of runs."""

import os
import shutil
from pathlib import Path

import pytest

from harness.viewer.index import Index
from tests.viewer.runs import COUNT, write_runs


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_runs(tmp_path / "runs")
    return tmp_path / "runs"


@pytest.fixture
def index(root: Path, tmp_path: Path) -> Index:
    index = Index(root, tmp_path / "cache")
    assert index.refresh() == 2 * COUNT
    return index


def test_runs_at_any_depth_are_there(index: Index) -> None:
    found = {one["run"]: one for one in index.runs()}
    assert list(found) == ["deep/two", "one"]
    assert found["one"]["method"] == "one"
    assert (found["one"]["attempts"], found["one"]["resolved"]) == (COUNT, 2)
    assert found["one"]["scores"]["pass_at_1"]["bootstrap"]["value"] == pytest.approx(2 / COUNT)


def test_attempts_are_filtered_sorted_and_paged(index: Index) -> None:
    whole = index.attempts(where={"run": "one"})
    assert whole["total"] == COUNT
    assert [row["status"] for row in whole["rows"]].count("resolved") == 2
    page = index.attempts(where={"run": "one"}, offset=1, limit=2)
    assert page == {"total": COUNT, "rows": whole["rows"][1:3]}
    down = index.attempts(where={"run": "one"}, sort="status", down=True)
    assert [row["status"] for row in down["rows"]][:4] == ["unresolved"] * 4
    one = whole["rows"][3]["instance"]
    assert index.attempts(where={}, name=one.upper())["total"] == 2
    with pytest.raises(ValueError, match="no column"):
        index.attempts(where={}, sort="number; DROP TABLE run")
    with pytest.raises(ValueError, match="no column"):
        index.attempts(where={"1=1 OR run": "x"})


def test_words_of_trajectories_are_found(index: Index) -> None:
    assert index.attempts(where={}, text="zebra")["total"] == 2 * COUNT
    assert index.attempts(where={}, text="zeb")["total"] == 2 * COUNT
    assert index.attempts(where={}, text="onerror alert")["total"] == 2
    assert index.attempts(where={}, text='nobody" OR zebra')["total"] == 0
    assert index.attempts(where={}, text='" * ) (')["total"] == 0


def test_what_changed_is_read_again_and_what_is_gone_is_forgotten(
    index: Index, root: Path, tmp_path: Path
) -> None:
    one = index.attempts(where={"run": "one", "status": "resolved"})["rows"][0]
    place = root / "one" / "attempts" / one["instance"] / "0"
    place.joinpath("events.jsonl").write_text('{"text": "giraffe"}\n')
    os.utime(place / "attempt.json", ns=(1, 1))
    shutil.rmtree(root / "deep")
    again = Index(root, tmp_path / "cache")
    assert again.refresh() == COUNT
    assert [run["run"] for run in again.runs()] == ["one"]
    assert again.attempts(where={}, text="zebra")["total"] == COUNT - 1
    assert again.attempts(where={}, text="giraffe")["rows"] == [one]
    with pytest.raises(KeyError):
        again.folder("deep/two")
