"""The cache of PI by its inputs."""

import threading
from pathlib import Path

import pytest

from harness.records import Instance
from pi_extractors.base import Edit, EditLog, ExtractionError, Snapshot
from pi_extractors.cache import PICache
from pi_extractors.gold_patch import GoldPatchSource
from pi_extractors.next_file import NextFileSource
from pi_extractors.records import PIRecord
from tests.pi_extractors.cases import case, snapshot


class Counting(GoldPatchSource):
    """Counts how often it is asked."""

    asked = 0

    def extract(
        self,
        item: Instance,
        snapshot: Snapshot | None = None,
        edits: EditLog = (),
        *,
        step: int = 0,
    ) -> PIRecord:
        self.asked += 1
        return super().extract(item, snapshot, edits, step=step)


def test_equal_inputs_are_extracted_once(tmp_path: Path) -> None:
    source, cache = Counting(), PICache(tmp_path)
    first = cache.extract(source, "owner__pkg-1", case())
    again = PICache(tmp_path).extract(source, "owner__pkg-1", case(hints_text="other"))
    assert first == again == GoldPatchSource().extract(case())
    assert source.asked == 1


@pytest.mark.parametrize("change", ["patch", "budget", "instance", "version"])
def test_any_other_input_is_extracted_anew(tmp_path: Path, change: str) -> None:
    cache = PICache(tmp_path)
    cache.extract(GoldPatchSource(), "owner__pkg-1", case())
    source = Counting(budget=77 if change == "budget" else None)
    item, name = case(), "owner__pkg-1"
    if change == "patch":
        item = case(patch="--- a/x\n+++ b/x\n@@ -1 +1 @@\n-a\n+b\n")
    elif change == "instance":
        name = "owner__pkg-2"
    elif change == "version":
        source.extractor = "gold_patch/2"  # type: ignore[misc]
    cache.extract(source, name, item)
    assert source.asked == 1


def test_a_damaged_entry_is_a_miss(tmp_path: Path) -> None:
    cache = PICache(tmp_path)
    record = cache.extract(GoldPatchSource(), "owner__pkg-1", case())
    (entry,) = tmp_path.rglob("*.json")
    for content in (b"", entry.read_bytes()[:50], b"{}"):
        entry.write_bytes(content)
        assert cache.extract(GoldPatchSource(), "owner__pkg-1", case()) == record


def test_steps_of_equal_edits_share_an_entry(tmp_path: Path) -> None:
    cache, source = PICache(tmp_path), NextFileSource()
    log = [Edit(step=2, path="pkg/core.py")]
    for step in range(4):
        kept = cache.extract(source, "owner__pkg-1", case(), snapshot(), log, step=step)
        assert kept == source.extract(case(), snapshot(), log, step=step)
    assert len(list(tmp_path.rglob("*.json"))) == 2


def test_failures_are_not_kept(tmp_path: Path) -> None:
    with pytest.raises(ExtractionError):
        PICache(tmp_path).extract(GoldPatchSource(), "x", case(patch="no diff"))
    assert not list(tmp_path.rglob("*.*"))


def test_many_writers_leave_one_whole_entry(tmp_path: Path) -> None:
    cache = PICache(tmp_path)
    threads = [
        threading.Thread(target=cache.extract, args=(GoldPatchSource(), "owner__pkg-1", case()))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (entry,) = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert entry.suffix == ".json"
