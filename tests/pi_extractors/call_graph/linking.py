"""Small repositories, linked."""

from pathlib import Path
from textwrap import dedent

from pi_extractors.call_graph.graph import Engine
from pi_extractors.call_graph.linker import Linker
from pi_extractors.snapshot import MemorySnapshot


def snapshot(**files: str) -> MemorySnapshot:
    """`a__b` is the file `a/b.py`."""
    return MemorySnapshot(
        {f"{_path(name)}.py": dedent(text).encode() for name, text in files.items()}
    )


def _path(name: str) -> str:
    return name.replace("____init__", ":").replace("__", "/").replace(":", "/__init__")


def edges(store: Path, files: MemorySnapshot, engine: Engine | None = None) -> set[tuple[str, str]]:
    """Caller and callee of every call of a repository."""
    graph = (engine or Linker(store)).open(files)
    return {(one.caller, one.callee) for one in graph.calls_from(graph.symbols)}


def callees(store: Path, caller: str, **files: str) -> set[str]:
    """What one definition calls."""
    return {callee for one, callee in edges(store, snapshot(**files)) if one == caller}
