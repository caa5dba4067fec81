"""A call graph in memory, for what stands on engines."""

from collections.abc import Iterable, Sequence

from pi_extractors.call_graph.graph import Call, Symbol, SymbolId
from pi_extractors.records import Skipped


class SmallGraph:
    """Definitions from lines as `a.py::C(Base)` or `a.py::f(x)`, calls from `caller -> callee`.

    A callee with `?` is a guess. `asked` lists the scopes that were asked about.
    """

    def __init__(self, definitions: Sequence[str], calls: Sequence[str] = ()) -> None:
        self.symbols: dict[SymbolId, Symbol] = {}
        self.skipped: Sequence[Skipped] = ()
        self.asked: list[list[SymbolId]] = []
        self.closed = False
        for line, definition in enumerate(definitions, start=1):
            name, bracket, rest = definition.partition("(")
            own = name.rpartition("::")[2].rpartition(".")[2]
            kind = "module" if not own else "class" if own[0].isupper() else "function"
            symbol = Symbol(SymbolId(name), kind, line, line, bracket + rest, "")  # type: ignore[arg-type]
            self.symbols[symbol.id] = symbol
        self._calls = [self._call(line, at) for at, line in enumerate(calls, start=1)]

    @staticmethod
    def _call(line: str, at: int) -> Call:
        caller, _, callee = line.partition(" -> ")
        name = SymbolId(callee.removesuffix("?"))
        sure = name == callee
        return Call(
            SymbolId(caller), name, at, 0, "linker" if sure else "name", 0.95 if sure else 0.3
        )

    def calls_from(self, scopes: Iterable[SymbolId]) -> Sequence[Call]:
        wanted = list(scopes)
        self.asked.append(wanted)
        inside = {*wanted, *(f"{one}.<lambda1>" for one in wanted)}
        return [call for call in self._calls if call.caller in inside]

    def close(self) -> None:
        self.closed = True
