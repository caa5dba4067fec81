"""The call graph as PI, from repository to record."""

import io
import sys
import tarfile
import time
from pathlib import Path

import pytest

from harness.records import Instance
from pi_extractors.base import ExtractionError, Snapshot
from pi_extractors.call_graph.engines import default_engine
from pi_extractors.call_graph.graph import Engine
from pi_extractors.call_graph.linker import Linker
from pi_extractors.call_graph.lsp_session import LspLimits, LspResolver
from pi_extractors.call_graph.source import CallGraphSource
from pi_extractors.call_graph.union import UnionEngine
from pi_extractors.records import PIRecord, SourceName, Tier
from pi_extractors.snapshot import ArchiveSnapshot, DirectorySnapshot, MemorySnapshot
from tests.conftest import make_instance
from tests.pi_extractors.call_graph.small_graph import SmallGraph

SERVER = Path(__file__).with_name("fake_language_server.py")
FILES = {
    "pkg/__init__.py": b"from .api import get\n",
    "pkg/api.py": b"from .core import Session\n\n\ndef get(url):\n    return Session().send(url)\n",
    "pkg/core.py": (
        b"class Session:\n    def send(self, url):\n        return check(url)\n\n\n"
        b"def check(url):\n    return url.strip()\n"
    ),
    "tests/test_api.py": b"from pkg.api import get\n\n\ndef test_get():\n    assert get('a')\n",
    "README.md": b"no module\n",
}
GRAPH = """\
[1] pkg/api.py
def get(url): line 4
  calls Session [2], Session.send [2]
[2] pkg/core.py
class Session: line 1
  def send(self, url): line 2
    calls check
def check(url): line 6"""


@pytest.fixture
def linker(tmp_path: Path) -> Engine:
    return Linker(tmp_path / "store")


def issue(text: str = "`get` is wrong\nin pkg/api.py", **changes: str) -> Instance:
    return make_instance(problem_statement=text, **changes)


def extract(engine: Engine, snapshot: Snapshot, item: Instance | None = None) -> PIRecord:
    return CallGraphSource(engine=engine).extract(item or issue(), snapshot)


def body(record: PIRecord) -> str:
    return record.text.partition("\n")[2]


def test_a_record_of_a_small_repository(linker: Engine) -> None:
    snapshot = MemorySnapshot(FILES)
    record = extract(linker, snapshot)
    assert body(record) == GRAPH
    assert (record.source, record.tier) == (SourceName.CALL_GRAPH, Tier.DEPLOYABLE)
    assert record.step is None
    assert not record.truncated
    made = record.provenance
    assert made.inputs["snapshot"] == snapshot.identity
    assert made.inputs["engine"] == f"linker {linker.version}"
    [note, *_] = made.notes
    assert note.startswith("module pkg/api.py: ")
    assert "path pkg/api.py (8.0)" in note
    assert made.skipped == ()


def test_the_same_from_another_store_another_folder_and_at_another_step(
    linker: Engine, tmp_path: Path
) -> None:
    for path, content in FILES.items():
        file = tmp_path / "copy" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    first = extract(linker, MemorySnapshot(FILES))
    source = CallGraphSource(engine=Linker(tmp_path / "other"))
    assert source.extract(issue(), DirectorySnapshot(tmp_path / "copy"), step=7) == first
    assert source.inputs(issue(), MemorySnapshot(FILES)) == first.provenance.inputs


def test_the_solution_is_never_looked_at(linker: Engine) -> None:
    snapshot = MemorySnapshot(FILES)
    changed = issue(patch="--- a/pkg/core.py\n+++ b/pkg/core.py\n", hints_text="pkg/core.py")
    assert extract(linker, snapshot, changed) == extract(linker, snapshot)


def test_files_of_the_test_patch_are_left_out(linker: Engine) -> None:
    snapshot = MemorySnapshot(FILES)
    item = issue(test_patch="diff --git a/pkg/core.py b/pkg/core.py\n--- a/pkg/core.py\n")
    record = extract(linker, snapshot, item)
    assert "core.py" not in record.text
    assert record.provenance.inputs != extract(linker, snapshot).provenance.inputs
    assert "test_get" not in extract(linker, snapshot, issue("tests/test_api.py test_get")).text


def test_the_fallback_is_told(linker: Engine) -> None:
    record = extract(linker, MemorySnapshot(FILES), issue("Sessions check nothing"))
    assert record.provenance.notes[0].startswith("fallback: ")
    assert "pkg/core.py" in record.text


def test_the_budget_holds(linker: Engine) -> None:
    source = CallGraphSource(engine=linker, budget=100)
    record = source.extract(issue(), MemorySnapshot(FILES))
    assert record.truncated
    assert record.tokens <= 100
    assert record.text.endswith("left out]")


def test_a_repository_without_python(linker: Engine) -> None:
    record = extract(linker, MemorySnapshot({"a.c": b"int main() {}"}))
    assert (record.text, record.tokens) == ("", 0)


def test_a_snapshot_is_needed(linker: Engine) -> None:
    with pytest.raises(ExtractionError, match=r"owner__pkg-1: .* snapshot"):
        CallGraphSource(engine=linker).extract(issue())


def test_the_graph_is_closed_even_after_an_error() -> None:
    class Broken(SmallGraph):
        def calls_from(self, scopes: object) -> list[object]:  # type: ignore[override]
            raise RuntimeError("broken")

    graph = Broken(["pkg/api.py::", "pkg/api.py::get()"])

    class Fixed:
        name = version = "1"

        def open(self, snapshot: Snapshot) -> Broken:
            return graph

    with pytest.raises(RuntimeError, match="broken"):
        extract(Fixed(), MemorySnapshot(FILES))  # type: ignore[arg-type]
    assert graph.closed


ODD = {
    **FILES,
    "pkg/old.py": b"def shout(x):\n    print x\n    exec 'a' in {}\n    raise E, 'x'\n",
    "pkg/broken.py": b"def half(:\n    get(\n\nclass Fine:\n    def ok(self):\n        pass\n",
    "pkg/latin.py": b"# caf\xe9\ndef caf():\n    '''\xe9'''\n",
    "pkg/liar.py": b"# -*- coding: no-such-codec -*-\ndef lie():\n    pass\n",
    "pkg/wide.py": "def wide():\n    pass\n".encode("utf-16"),
    "pkg/nul.py": b"def nul():\n    '\0'\n",
    "pkg/deep.py": b"x = " + b"(" * 20_000 + b")" * 20_000,
    "pkg/empty.py": b"",
    "pkg/cr.py": b"def cr():\r    pass\r",
    "pkg/name with \xf0\x9f\x98\x80.py".encode("latin-1").decode(): b"def odd():\n    pass\n",
}


def test_odd_files_are_read_in_part_or_skipped_and_told(tmp_path: Path) -> None:
    engine = default_engine(tmp_path / "store")
    began = time.process_time()
    record = extract(engine, MemorySnapshot(ODD))
    assert time.process_time() - began < 60
    assert body(record).startswith("[1] pkg/api.py\ndef get(url): line 4\n  calls Session [2]")
    said = {one.path: one.reason for one in record.provenance.skipped}
    assert {"pkg/broken.py", "pkg/wide.py", "pkg/nul.py", "pkg/latin.py", "pkg/liar.py"} <= set(
        said
    )
    assert "pkg/api.py" not in said
    item = issue("pkg/old.py: shout fails")
    assert "def shout(x)" in extract(engine, MemorySnapshot(ODD), item).text
    item = issue("pkg/broken.py: Fine fails")
    assert "class Fine" in extract(engine, MemorySnapshot(ODD), item).text


def test_a_file_of_50_000_lines(linker: Engine) -> None:
    parts = [f"def f{n}(x):\n    return f{n + 1}(x)\n" for n in range(25_000)]
    snapshot = MemorySnapshot({**FILES, "pkg/long.py": "".join(parts).encode()})
    began = time.process_time()
    record = extract(linker, snapshot, issue("pkg/long.py: `f7` fails"))
    assert time.process_time() - began < 120
    assert "def f7(x): line 15\n  calls f8" in record.text
    assert record.tokens <= record.budget


def test_links_loops_and_names_that_lead_outside(linker: Engine, tmp_path: Path) -> None:
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        for path, content in {**FILES, "../../evil.py": b"def evil():\n    pass\n"}.items():
            member = tarfile.TarInfo(f"top/{path}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    archive.seek(0)
    record = extract(linker, ArchiveSnapshot(archive), issue("evil in pkg/api.py"))
    assert "evil" not in record.text
    assert [one.path for one in record.provenance.skipped] == ["../../evil.py"]

    root = tmp_path / "loop"
    (root / "pkg").mkdir(parents=True)
    (root / "pkg" / "api.py").write_text("def get():\n    pass\n")
    (root / "pkg" / "loop").symlink_to("..")
    (root / "pkg" / "self.py").symlink_to("self.py")
    record = extract(linker, DirectorySnapshot(root))
    assert {one.path for one in record.provenance.skipped} == {"pkg/loop", "pkg/self.py"}
    assert "def get(): line 1" in record.text


def test_what_is_skipped_is_bounded_and_counted(linker: Engine) -> None:
    files = {f"pkg/bad{n:03}.py": b"\0" for n in range(80)}
    made = extract(linker, MemorySnapshot({**FILES, **files})).provenance
    assert len(made.skipped) == 50
    assert "80 parts skipped; the first 50 are listed" in made.notes


@pytest.mark.parametrize("mode", ["hang", "crash", "no-json", "honest"])
def test_a_bad_language_server_costs_bounded_time_and_is_told(tmp_path: Path, mode: str) -> None:
    log = tmp_path / "log"
    command = (sys.executable, "-I", str(SERVER), mode, str(log))
    limits = LspLimits(start=20, request=0.3, session=5, failures=1)
    server = LspResolver("fake", "1", command, limits=limits)
    unknown = b"def get(url, session):\n    session.send(url)\n    session.other()\n"
    snapshot = MemorySnapshot({**FILES, "pkg/api.py": unknown})
    began = time.monotonic()
    record = extract(UnionEngine([server], tmp_path / "store"), snapshot)
    assert time.monotonic() - began < 40
    assert "def get(url, session): line 1" in record.text
    said = [one.reason for one in record.provenance.skipped]
    assert any(one.startswith("fake: the server") for one in said) == (mode != "honest")
    for pid in filter(str.isdigit, log.read_text().split()):
        assert not Path(f"/proc/{pid}").exists()
