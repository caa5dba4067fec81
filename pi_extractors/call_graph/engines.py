"""The engines."""

from pi_extractors.call_graph.graph import Engine
from pi_extractors.call_graph.linker import Linker


def default_engine() -> Engine:
    """The engine that extraction uses."""
    return Linker()
