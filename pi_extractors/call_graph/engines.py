"""The engines by name."""

from collections.abc import Callable
from pathlib import Path

from pi_extractors.call_graph.graph import Engine
from pi_extractors.call_graph.jedi_resolver import Jedi
from pi_extractors.call_graph.linker import Linker
from pi_extractors.call_graph.pylsp import pylsp
from pi_extractors.call_graph.union import UnionEngine

ENGINES: dict[str, Callable[[Path | None], Engine]] = {
    "linker": lambda folder: Linker(folder),
    "linker+jedi": lambda folder: UnionEngine([Jedi()], folder),
    "linker+pylsp": lambda folder: UnionEngine([pylsp()], folder),
}


def default_engine(folder: Path | None = None) -> Engine:
    """The engine that extraction uses; `folder`: of its store, the user's cache by default."""
    return ENGINES["linker+jedi"](folder)
