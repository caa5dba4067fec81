from pathlib import Path

import pytest

from harness.datagen.bugs import AuthoringError, load_authored
from tests.datagen import authored


def test_a_suite_is_loaded(tmp_path: Path) -> None:
    suite, bugs = load_authored(authored.write(tmp_path))
    assert [bug.instance_id for bug in bugs] == [authored.ID]
    assert suite.split_of("owner/pkg") == "train"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"difficulty": "easy"}, f"{authored.ID}.yaml: field difficulty: .*<15 min fix"),
        ({"hint": "x"}, "field hint: Extra inputs"),
        ({"patch": "--- a\n+++ b\n"}, "field patch"),
        ({"problem_statement": "broken"}, "field problem_statement"),
        ({"instance_id": "owner__pkg-12"}, "field instance_id"),
        ({"repo": "owner/other"}, "an id that begins with owner__other-"),
    ],
    ids=str,
)
def test_a_malformed_bug_is_named(tmp_path: Path, changes: dict[str, object], said: str) -> None:
    root = authored.write(tmp_path, authored.bug(**changes))
    with pytest.raises(AuthoringError, match=said):
        load_authored(root)


@pytest.mark.parametrize(
    "splits", [{"train": []}, {"train": ["owner/pkg"], "test": ["owner/pkg"]}], ids=["0", "2"]
)
def test_a_repository_is_in_one_split(tmp_path: Path, splits: dict[str, object]) -> None:
    root = authored.write(tmp_path, splits=splits)
    with pytest.raises(AuthoringError, match=r"owner/pkg is in [02] splits of small, not in one"):
        load_authored(root)


def test_missing_and_damaged_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(AuthoringError, match=r"suite\.yaml is missing"):
        load_authored(tmp_path)
    root = authored.write(tmp_path)
    (root / f"{authored.ID}.yaml").write_text("a: [")
    with pytest.raises(AuthoringError, match=rf"{authored.ID}\.yaml: not YAML"):
        load_authored(root)
    (root / f"{authored.ID}.yaml").unlink()
    with pytest.raises(AuthoringError, match="no bugs in it"):
        load_authored(root)
