"""Shipped suites: what their manifests promise is checked at every load."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.suites import (
    SuiteError,
    ids_sha256,
    load_manifest,
    load_suite,
    manifests,
    rows_sha256,
    validate_suite,
)
from tests.conftest import make_instance

IDS = ("a-1", "a-2", "b-1")
LINES = "".join(make_instance(instance_id=one).model_dump_json() + "\n" for one in IDS)
MANIFEST: dict[str, Any] = {
    "name": "mini",
    "title": "A small suite",
    "licence": "MIT",
    "source": "made for this test",
    "kind": "rows",
    "file": "mini.jsonl",
    "sha256": hashlib.sha256(LINES.encode()).hexdigest(),
    "splits": {"train": ["a-1", "a-2"], "test": ["b-1"]},
    "packages": [{"name": "a", "version": "1", "sha256": "0" * 64, "licence": "MIT"}],
}


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "suites").mkdir()
    (tmp_path / "suites" / "mini.jsonl").write_text(LINES)
    ship(tmp_path)
    monkeypatch.setattr(manifests, "manifests_root", lambda: tmp_path)
    return tmp_path


def ship(root: Path, **changes: Any) -> None:
    (root / "suites" / "mini.yaml").write_text(yaml.safe_dump(MANIFEST | changes))


def test_a_suite_and_its_splits(root: Path) -> None:
    assert {one.instance_id for one in load_suite("mini").instances} == set(IDS)
    test = load_suite("mini/test")
    assert [one.instance_id for one in test.instances] == ["b-1"]
    assert (test.name, test.split) == ("mini/test", "test")
    assert test == load_suite("mini", split="test") == load_suite("mini/test", split="test")
    assert len({load_suite(name).sha256 for name in ("mini", "mini/test", "mini/train")}) == 3
    assert validate_suite("mini").ok


def test_changed_rows_are_refused(root: Path) -> None:
    (root / "suites" / "mini.jsonl").write_text(LINES.replace("a is x", "a is z"))
    with pytest.raises(SuiteError, match="the file was changed"):
        load_suite("mini")
    (root / "suites" / "mini.jsonl").unlink()
    with pytest.raises(SuiteError, match=r"mini\.jsonl: missing"):
        load_suite("mini")


def test_rows_and_splits_must_agree(root: Path) -> None:
    ship(root, splits={"train": ["a-1", "a-3"], "test": ["b-1"]})
    with pytest.raises(SuiteError, match="1 missing: a-3; 1 too many: a-2"):
        load_suite("mini/test")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sha256": "12"}, "field sha256"),
        ({"file": "../../etc/passwd"}, "field file"),
        ({"file": None}, "kind rows needs file"),
        ({"kind": "ids"}, "kind rows needs file"),
        ({"kind": "ids", "file": None}, "the ids have SHA-256"),
        ({"splits": {"train": ["a-1"], "test": ["a-1"]}}, "listed twice"),
        ({"splits": {}}, "field splits"),
        ({"colour": "red"}, "field colour"),
        ({"name": "maxi"}, "field name"),
    ],
)
def test_a_malformed_manifest_names_the_field(
    root: Path, changes: dict[str, Any], message: str
) -> None:
    ship(root, **changes)
    with pytest.raises(SuiteError, match=message):
        load_manifest("mini")


def test_a_manifest_that_is_not_yaml_is_named(root: Path) -> None:
    (root / "suites" / "mini.yaml").write_text("a: [")
    with pytest.raises(SuiteError, match=r"mini\.yaml: not YAML"):
        load_manifest("mini")


def test_misuse_is_explained(root: Path) -> None:
    with pytest.raises(SuiteError, match="ships its rows"):
        load_suite("mini", rows=root / "x.jsonl")
    with pytest.raises(SuiteError, match="is split 'test', but split 'train' was asked for"):
        load_suite("mini/test", split="train")
    ids = {"train": ["a-1", "a-2", "b-1"]}
    ship(root, kind="ids", file=None, sha256=ids_sha256(IDS), splits=ids)
    with pytest.raises(SuiteError, match="name a local file"):
        load_suite("mini")
    rows = root / "suites" / "mini.jsonl"
    assert len(load_suite("mini", rows=rows).instances) == 3


def test_the_digest_of_ids_ignores_their_order() -> None:
    assert ids_sha256(IDS) == ids_sha256(reversed(IDS)) != ids_sha256(IDS[1:])


@pytest.mark.parametrize("name", manifests.suite_names())
def test_every_shipped_suite_is_what_it_says(name: str) -> None:
    check = validate_suite(name)
    assert check.ok
    assert check.instances == len(load_manifest(name).ids)


def test_installed_manifests_win_over_a_folder_beside_the_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "harness"
    beside, inside = tmp_path / "manifests", package / "_manifests"
    monkeypatch.setattr(manifests, "files", lambda name: package)
    with pytest.raises(SuiteError, match="install the package again"):
        manifests.manifests_root()
    (beside / "suites").mkdir(parents=True)
    assert manifests.manifests_root() == beside
    (inside / "suites").mkdir(parents=True)
    assert manifests.manifests_root() == inside


def test_the_digest_of_rows_is_of_what_they_say() -> None:
    """Columns at their default do not count, so that a new optional column changes no digest."""
    assets = {"b": 1, "a": 2}
    instance = make_instance(image_assets=assets, hints_text="", difficulty=None)
    row = {key: value for key, value in instance.model_dump(mode="json").items() if value}
    line = json.dumps(row | {"image_assets": {"a": 2, "b": 1}}, sort_keys=True) + "\n"
    assert rows_sha256([instance]) == hashlib.sha256(line.encode()).hexdigest()
