"""The index of a folder of runs."""

import json
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
    assert found["one"]["scores"]["pass_at_1"]["value"] == pytest.approx(2 / COUNT)


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


def test_instances_have_what_each_run_resolved(index: Index) -> None:
    found = index.instances(where={}, sort="share", down=True)
    assert found["total"] == COUNT
    assert [row["share"] for row in found["rows"]] == [1, 1, 0.5, 0.5, 0, 0]
    assert found["rows"][2]["runs"] == {
        "deep/two": {"seed": 0, "resolved": 1, "attempts": 1},
        "one": {"seed": 0, "resolved": 0, "attempts": 1},
    }
    assert index.instances(where={}, outcome="some")["rows"] == found["rows"][2:4]
    assert index.instances(where={"run": "one"}, outcome="all")["total"] == 2
    page = index.instances(where={}, sort="share", down=True, offset=1, limit=2)
    assert page == {"total": COUNT, "rows": found["rows"][1:3]}
    with pytest.raises(ValueError, match="no column"):
        index.instances(where={}, sort="1; DROP TABLE run")
    with pytest.raises(ValueError, match="no column"):
        index.instances(where={}, outcome="x")


def test_actions_to_label_are_one_of_each_attempt_in_one_order(index: Index) -> None:
    actions = index.actions("")
    assert len({(one["run"], one["instance"]) for one in actions}) == len(actions) == 2 * COUNT
    turns = {row["instance"]: row["turns"] for row in index.attempts(where={})["rows"]}
    assert all(1 <= one["turn"] <= turns[one["instance"]] for one in actions)
    assert index.actions("one") == [one for one in actions if one["run"] == "one"]
    assert actions != sorted(actions, key=lambda one: (one["run"], one["instance"]))


def test_hostile_files_are_indexed_as_far_as_they_can_be(root: Path, tmp_path: Path) -> None:
    place = sorted((root / "one" / "attempts").iterdir())[1] / "0"
    found = json.loads((place / "attempt.json").read_text())
    found["usage"]["turns"], found["seconds"] = 10**30, float("nan")
    (place / "attempt.json").write_text(json.dumps(found))
    place.joinpath("events.jsonl").write_bytes(
        b'\xff\n[1]\n{"text": "\\ud800 walrus"}\n' + b"x" * 10**6
    )
    for name in ("9" * 30, "7"):
        (root / "one" / "attempts" / "..evil" / name).mkdir(parents=True)
    (root / "one" / "attempts" / "a" / ("9" * 30)).mkdir(parents=True)
    (root / "one" / "scores.json").unlink()
    (root / "one" / "scores.json").symlink_to(root / "deep" / "two" / "scores.json")
    (root / "deep" / "two" / "run.yaml").write_text('id: "\\uD800\\u202E"\nmethod: [')
    index = Index(root, tmp_path / "cache")
    assert index.refresh() == 2 * COUNT
    (row,) = index.attempts(where={}, text="walrus")["rows"]
    assert (row["turns"], row["seconds"]) == (0, 0)
    assert [one["scores"] for one in index.runs() if one["run"] == "one"] == [{}]
    assert index.attempts(where={}, text="  \x00 ")["total"] in (0, 2 * COUNT)


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
    (row,) = again.attempts(where={}, text="giraffe")["rows"]
    assert row == one | {"found": row["found"]}
    assert [text for text, hit in row["found"] if hit] == ["giraffe"]
    with pytest.raises(KeyError):
        again.folder("deep/two")
