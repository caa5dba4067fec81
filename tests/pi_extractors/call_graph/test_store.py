"""What is kept between runs, and between processes."""

import subprocess
import sys
from pathlib import Path

import pytest

from pi_extractors.call_graph.extract import summarise
from pi_extractors.call_graph.linker import Linker
from pi_extractors.call_graph.store import Store, pack
from pi_extractors.call_graph.summary import Summary
from pi_extractors.snapshot import MemorySnapshot

ONE = {"a.py": b"def f(): pass\ndef g(): f()\n", "b.py": b"from a import f\nf()\n"}


def test_a_blob_is_read_once_whatever_its_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []

    def counted(text: str) -> Summary:
        read.append(text)
        return summarise(text)

    monkeypatch.setattr("pi_extractors.call_graph.repository.summarise", counted)
    Linker(tmp_path).open(MemorySnapshot(ONE))
    assert len(read) == 2
    moved = {"pkg/a.py": ONE["a.py"], "b.py": ONE["b.py"], "c.py": b"import pkg.a\npkg.a.g()\n"}
    graph = Linker(tmp_path).open(MemorySnapshot(moved))
    assert len(read) == 3
    (call,) = graph.calls_from(["c.py::"])  # type: ignore[list-item]
    assert call.callee == "pkg/a.py::g"


def test_a_known_tree_reads_no_file(tmp_path: Path) -> None:
    Linker(tmp_path).open(MemorySnapshot(ONE))

    class Unread(MemorySnapshot):
        def read(self, path: str) -> bytes:
            raise AssertionError(path)

    graph = Linker(tmp_path).open(Unread(ONE))
    assert len(graph.calls_from(graph.symbols)) == 2


def test_cold_and_warm_give_the_same(tmp_path: Path) -> None:
    cold = Linker(tmp_path).open(MemorySnapshot(ONE))
    warm = Linker(tmp_path).open(MemorySnapshot(ONE))
    assert list(cold.symbols.items()) == list(warm.symbols.items())
    assert cold.calls_from(cold.symbols) == warm.calls_from(warm.symbols)


def test_a_damaged_file_is_begun_anew(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.close()
    store.file.write_bytes(b"no database" * 1000)
    graph = Linker(tmp_path).open(MemorySnapshot(ONE))
    assert "a.py::f" in graph.symbols


def test_processes_share_it(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path\n"
        "from pi_extractors.call_graph.store import Store, pack\n"
        "store = Store(Path(sys.argv[1]))\n"
        "for at in range(50):\n"
        "    store.add({f'{sys.argv[2]}{at}': (pack({}), pack([at]))})\n"
    )
    processes = [
        subprocess.Popen([sys.executable, "-c", program, str(tmp_path), name]) for name in "ab"
    ]
    assert [one.wait(60) for one in processes] == [0, 0]
    store = Store(tmp_path)
    assert len(list(store.heads([f"{name}{at}" for name in "ab" for at in range(50)]))) == 100


def test_entries_are_never_changed(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.add({"x": (pack({}), pack([1]))})
    store.add({"x": (pack({}), pack([2]))})
    assert store.body("x") == [1]
    assert store.body("y") is None
