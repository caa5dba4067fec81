"""A corpus of synthetic repairs from pinned source distributions."""

import hashlib
import io
import tarfile
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml

from harness.datagen.repairs import (
    MOST_EDITS,
    CorpusError,
    CorpusManifest,
    CorpusSource,
    corpus_functions,
    load_manifest,
    write_corpus,
)
from harness.suites.manifests import manifests_root

SOURCE = '''
def clamp(value, low, high):
    """Keep a value between two others."""
    if value < low and not low == 3:
        return low + 1
    return min(value, high)


class Box:
    def get(self, key):
        while key in self.items:
            if key is None:
                continue
            key += 1
        return self.items.keys()
'''


def archive(cache: Path, files: dict[str, str]) -> CorpusSource:
    draft = cache / "draft.tar.gz"
    with tarfile.open(draft, "w:gz") as tar:
        for path, text in files.items():
            info = tarfile.TarInfo(f"pkg-1.0/{path}")
            info.size = len(text.encode())
            tar.addfile(info, io.BytesIO(text.encode()))
    digest = hashlib.sha256(draft.read_bytes()).hexdigest()
    (cache / "sdists").mkdir(exist_ok=True)
    draft.rename(cache / "sdists" / f"pkg-1.0-{digest[:16]}.tar.gz")
    return CorpusSource(name="pkg", version="1.0", sha256=digest, licence="MIT")


def test_functions_are_shown_whole_and_broken() -> None:
    clamp, get = corpus_functions("pkg", iter([("a.py", SOURCE)]), set())
    assert (clamp.name, get.name) == ("clamp", "Box.get")
    assert clamp.places == ("<", "and", "==", "3", "+", "1", "min")
    assert clamp.state.startswith("<code>def clamp(value, low, high):\nif value <<0> low and<1>")
    assert len(clamp.broken) == MOST_EDITS
    for function in (clamp, get):
        for state, action in function.broken:
            number = int(action[1 : action.index(">")])
            mark, text = action.split(" ", 1)
            assert text == function.places[number]
            assert state != function.state
            assert mark in state


def test_a_text_counts_once() -> None:
    found = list(corpus_functions("pkg", iter([("a.py", SOURCE), ("b.py", SOURCE)]), set()))
    assert [one.path for one in found] == ["a.py", "a.py"]


def test_the_file_holds_what_the_archives_hold_but_no_tests(tmp_path: Path) -> None:
    renamed = SOURCE.replace("value", "item")
    files = {"pkg/a.py": SOURCE, "tests/b.py": renamed, "pkg/bad.py": "def f(:", "pkg/c.txt": ""}
    manifest = CorpusManifest(name="tiny", sources=(archive(tmp_path, files),))
    first, second = tmp_path / "one.parquet", tmp_path / "two.parquet"
    assert write_corpus(manifest, tmp_path, first) == {"pkg": 2}
    write_corpus(manifest, tmp_path, second)
    assert first.read_bytes() == second.read_bytes()
    table = pq.read_table(first)
    assert set(table["path"].to_pylist()) == {"pkg/a.py"}
    assert CorpusManifest.model_validate_json(table.schema.metadata[b"manifest"]) == manifest


def test_a_manifest_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    path = tmp_path / "m.yaml"
    path.write_text("name: x\nsources: []\n")
    with pytest.raises(CorpusError, match=r"(?s)m\.yaml.*sources"):
        load_manifest(path)


def test_no_suite_has_a_package_of_the_corpus() -> None:
    ours = {
        one.name for one in load_manifest(manifests_root() / "corpora" / "repairs.yaml").sources
    }
    for path in manifests_root().glob("suites/*.yaml"):
        packages = yaml.safe_load(path.read_text()).get("packages", [])
        assert not ours & {one["name"].lower() for one in packages}, path
