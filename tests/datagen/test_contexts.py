"""PI contexts of runs."""

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from harness.datagen.contexts import METADATA_KEY, make_contexts
from harness.datagen.exchange import ExchangeError
from harness.datagen.snapshots import Snapshots
from harness.datagen.triples_gate import TriplesError
from harness.datagen.triples_pi import PITexts
from harness.records import Instance
from pi_extractors.gold_patch import GoldPatchSource
from pi_extractors.next_file import NextFileSource
from pi_extractors.snapshot import GitSnapshot
from pi_extractors.tokens import Estimate
from tests.conftest import make_instance
from tests.datagen.trajectories import Turn, edit, write_run
from tests.pi_extractors.trees import commit_tree

PATCH = "".join(
    f"diff --git a/pkg/{one}.py b/pkg/{one}.py\n--- a/pkg/{one}.py\n+++ b/pkg/{one}.py\n"
    "@@ -1 +1 @@\n-x\n+y{}\n"
    for one in "ab"
)
TURNS = [
    Turn("Look.", [("terminal", {"command": "ls"})]),
    Turn("Mend.", [edit("x", "y", "/testbed/pkg/a.py")]),
    Turn("", status="failed"),
    Turn("summary", purpose="condenser"),
    Turn("Done."),
]


@pytest.fixture
def made(tmp_path: Path) -> tuple[Path, PITexts, list[Instance]]:
    """A run of three instances, and PI of two of them."""
    files = {f"pkg/{one}.py": b"x\n" for one in "ab"}
    commit = commit_tree(tmp_path / "repos" / "owner__pkg", files)
    instances = [
        make_instance(
            instance_id=f"owner__pkg-{n}", base_commit=commit, patch=PATCH.replace("{}", str(n))
        )
        for n in range(3)
    ]
    snapshot = GitSnapshot(tmp_path / "repos" / "owner__pkg", commit)
    records = [
        source.extract(one, snapshot)
        for one in instances[:2]
        for source in (NextFileSource(), GoldPatchSource())
    ]
    snapshot.close()
    path = tmp_path / "pi.jsonl"
    path.write_text("".join(one.model_dump_json() + "\n" for one in records))
    snapshots = Snapshots(repos=tmp_path / "repos", recipes={}, cache=tmp_path / "cache")
    texts = PITexts(path, None, snapshots, Estimate())
    attempts = [(one, seed, TURNS) for one in instances for seed in (0, 1)]
    return write_run(tmp_path / "runs" / "one", attempts), texts, instances


def rows(path: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = pq.read_table(path).to_pylist()
    return found


def test_every_turn_of_every_attempt_has_the_text_of_its_state(
    made: tuple[Path, PITexts, list[Instance]], tmp_path: Path
) -> None:
    run, texts, _ = made
    report = make_contexts([run], texts, tmp_path / "out" / "contexts.parquet")
    found = rows(tmp_path / "out" / "contexts.parquet")
    keys = [(one["instance_id"], one["seed"], one["turn"], one["source"]) for one in found]
    assert keys == sorted(set(keys))
    assert len(keys) == 2 * 2 * 3 * 2
    assert {one["run"] for one in found} == {"one"}
    assert {one["turn"] for one in found} == {1, 2, 4}
    first = [one for one in found if one["instance_id"] == "owner__pkg-0" and one["seed"] == 0]
    by = {(one["turn"], one["source"]): one["text"] for one in first}
    assert [by[turn, "next_file"] for turn in (1, 2, 4)] == ["pkg/a.py", "pkg/a.py", "pkg/b.py"]
    assert "+y0" in by[1, "gold_patch"] == by[4, "gold_patch"]
    assert report.turns == 18
    assert report.rows == {"gold_patch": 12, "next_file": 12}
    assert report.missing == {"gold_patch": 6, "next_file": 6}


def test_the_same_inputs_give_the_same_bytes(
    made: tuple[Path, PITexts, list[Instance]], tmp_path: Path
) -> None:
    run, texts, _ = made
    for name in ("a", "b"):
        make_contexts([run], texts, tmp_path / name, shuffle=3)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    about = json.loads((pq.read_schema(tmp_path / "a").metadata or {})[METADATA_KEY])
    assert about == {
        "pi_sha256": texts.sha256,
        "shuffle": 3,
        "across": "instances",
        "runs": ["one"],
    }


def test_shuffled_pi_is_that_of_another_instance(
    made: tuple[Path, PITexts, list[Instance]], tmp_path: Path
) -> None:
    run, texts, _ = made
    seen = set()
    for seed in range(12):
        make_contexts([run], texts, tmp_path / f"{seed}", shuffle=seed)
        for row in rows(tmp_path / f"{seed}"):
            own = row["instance_id"].rpartition("-")[2]
            if row["source"] == "gold_patch":
                assert f"+y{own}" not in row["text"]
                seen.add((own, row["text"]))
    assert len(seen) == 4  # of 0 and 1 the other's, of 2 both


def test_what_cannot_be_made_is_an_error(
    made: tuple[Path, PITexts, list[Instance]], tmp_path: Path
) -> None:
    run, texts, instances = made
    (tmp_path / "there").write_text("x")
    with pytest.raises(TriplesError, match="exists"):
        make_contexts([run], texts, tmp_path / "there")
    assert (tmp_path / "there").read_text() == "x"
    alone = write_run(tmp_path / "runs" / "two", [(instances[0], 0, TURNS)])
    with pytest.raises(ExchangeError, match="across instances takes two of them"):
        make_contexts([alone], texts, tmp_path / "out", shuffle=1)
    with pytest.raises(TriplesError, match="two runs are named two"):
        make_contexts([alone, alone], texts, tmp_path / "out")
    assert not list(tmp_path.glob("out*"))
