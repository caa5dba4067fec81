"""Recorded predictions: every row is used or refused with its reason."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from harness.agents.predictions import load_predictions
from harness.suites.errors import SuiteError
from tests.conftest import REAL_ROWS

RECORDED = REAL_ROWS / "predictions_recorded_agent_100.jsonl.gz"


def row(name: str = "a__a-1", patch: Any = "diff", **changes: Any) -> dict[str, Any]:
    return {"instance_id": name, "model_name_or_path": "m", "model_patch": patch} | changes


def write(path: Path, *rows: Any) -> Path:
    path.write_text("".join(json.dumps(one) + "\n" for one in rows))
    return path


def test_all_shapes_of_file_say_the_same(tmp_path: Path) -> None:
    rows = [row("a__a-1"), row("b__b-2", None), row("c__c-3", "é\r\n")]
    lines = write(tmp_path / "p.jsonl", *rows)
    (tmp_path / "p.jsonl.gz").write_bytes(gzip.compress(lines.read_bytes()))
    (tmp_path / "list.json").write_text(json.dumps(rows))
    keyed = {one["instance_id"]: {k: one[k] for k in one if k != "instance_id"} for one in rows}
    (tmp_path / "object.json").write_text(json.dumps(keyed))
    for name in ("p.jsonl", "p.jsonl.gz", "list.json", "object.json"):
        found = load_predictions(tmp_path / name)
        assert found.patches == {"a__a-1": "diff", "b__b-2": "", "c__c-3": "é\r\n"}, name
        assert set(found.models.values()) == {"m"}
        assert found.refused == ()


@pytest.mark.parametrize(
    ("value", "field", "message"),
    [
        ([1], "row", "expected an object, found [1]"),
        ({"instance_id": "a__a-1", "model_patch": ""}, "model_name_or_path", "missing"),
        (
            {"instance_id": "a", "model_name_or_path": "m", "model_pach": "x"},
            "model_patch",
            "missing; found 'model_pach' instead",
        ),
        (row("../../etc"), "instance_id", "not an instance id: '../../etc'"),
        (row(""), "instance_id", "not an instance id"),
        (row(5), "instance_id", "not an instance id: 5"),  # type: ignore[arg-type]
        (row(patch=["x"]), "model_patch", "expected text, found ['x']"),
        (row(patch="\ud800"), "model_patch", "not text at character 1"),
        (row(model_name_or_path=None), "model_name_or_path", "expected text"),
    ],
)
def test_bad_rows_are_refused_by_name(tmp_path: Path, value: Any, field: str, message: str) -> None:
    path = write(tmp_path / "p.jsonl", row("ok__ok-1"), value, row("ok__ok-2"))
    found = load_predictions(path)
    assert list(found.patches) == ["ok__ok-1", "ok__ok-2"]
    (refused,) = found.refused
    assert (refused.file, refused.row, refused.field) == (str(path), 2, field)
    assert message in refused.message
    assert refused.text.startswith(f"{path}: row 2, field {field}: ")


def test_broken_lines_and_duplicates(tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl"
    path.write_text(json.dumps(row()) + "\n{broken\n\n" + json.dumps(row(patch="other")) + "\n")
    found = load_predictions(path)
    assert found.patches == {"a__a-1": "diff"}
    assert [(one.row, one.field) for one in found.refused] == [(2, "row"), (4, "instance_id")]
    assert "'a__a-1' is already in row 1" in found.refused[1].message


def test_an_object_whose_keys_contradict_its_values(tmp_path: Path) -> None:
    path = tmp_path / "p.json"
    path.write_text(json.dumps({"a__a-1": row("b__b-2"), "c__c-3": 7, "d__d-4": row("d__d-4")}))
    found = load_predictions(path)
    assert list(found.patches) == ["d__d-4"]
    assert [one.row for one in found.refused] == [1, 2]
    assert "key 'a__a-1' holds the prediction of 'b__b-2'" in found.refused[0].message


def test_unusable_files(tmp_path: Path) -> None:
    with pytest.raises(SuiteError, match="no such file"):
        load_predictions(tmp_path / "none.jsonl")
    with pytest.raises(SuiteError, match=r"\.jsonl, \.jsonl\.gz or \.json"):
        load_predictions(tmp_path / "p.parquet")
    (tmp_path / "cut.jsonl.gz").write_bytes(gzip.compress(b"{}\n" * 999)[:-9])
    with pytest.raises(SuiteError, match="damaged"):
        load_predictions(tmp_path / "cut.jsonl.gz")
    (tmp_path / "text.json").write_text('"text"')
    with pytest.raises(SuiteError, match="expected a list"):
        load_predictions(tmp_path / "text.json")


@pytest.mark.skipif(not RECORDED.is_file(), reason="no recorded predictions here")
def test_a_real_agents_predictions() -> None:
    found = load_predictions(RECORDED)
    assert len(found.patches) == 100
    assert found.refused == ()
    assert all("diff --git" in patch for patch in found.patches.values() if patch)
