"""What the modules that an issue names reach over calls, ranked by what matters to the issue."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from pi_extractors.call_graph.graph import Graph, Symbol, SymbolId
from pi_extractors.call_graph.issue_modules import IssueModules
from pi_extractors.call_graph.issue_text import words_of

_NAMED = 3.0  # points of a definition that the text surely names
_LEAST = 0.1  # of 1, the rank of a definition that the text says nothing about
_STEP = 0.6  # the rank of a callee, of its caller's


@dataclass(frozen=True, slots=True)
class ReachLimits:
    """How far calls are followed.

    `modules` to start from, if they have at least the `share` of the first one's points; `scopes`:
    definitions whose bodies are looked into, in those modules and at each later level.
    """

    modules: int = 3
    share: float = 0.4
    scopes: tuple[int, ...] = (60, 30)
    calls: int = 2000


@dataclass(frozen=True, slots=True)
class Item:
    """A definition, or one call of another that it makes; the higher the rank, the better."""

    rank: float
    symbol: SymbolId
    callee: SymbolId | None = None
    guess: bool = False


@dataclass(frozen=True, slots=True)
class Reached:
    """Items, the best first; the modules that they start from; definitions not looked into."""

    items: tuple[Item, ...]
    roots: tuple[str, ...]
    unexplored: int


def reach(
    graph: Graph,
    issue: IssueModules,
    tests: Collection[str],
    limits: ReachLimits = ReachLimits(),
) -> Reached:
    """Follow calls breadth-first from the issue's modules; tests and the outside are left out.

    Source: CHOP App. D.6: "symbols reachable from the issue-referenced module".
    """
    first = issue.modules[0].points if issue.modules else 0.0
    roots = {
        one.path: one.points / first
        for one in issue.modules[: limits.modules]
        if one.points >= limits.share * first
    }
    relevance = _Relevance(issue)
    level = {
        symbol: share * relevance.of(symbol)
        for symbol in graph.symbols
        if (share := roots.get(symbol.partition("::")[0])) and "<" not in symbol
    }
    ranks: dict[SymbolId, float] = {}
    calls: dict[tuple[SymbolId, SymbolId], Item] = {}
    unexplored = 0
    for most in (*limits.scopes, 0):
        ranks.update(level)
        scopes = sorted(level, key=lambda symbol: (-level[symbol], symbol))[:most]
        unexplored += len(level) - len(scopes)
        level = {}
        for call in graph.calls_from(scopes):
            caller = _known(call.caller, ranks)
            shown = _shown(call.callee, graph.symbols, tests)
            if caller is None or caller == call.callee or not shown or len(calls) >= limits.calls:
                continue
            rank = ranks[caller] * call.confidence
            before = calls.get((caller, call.callee))
            if before is None or before.rank < rank:
                guess = call.resolver == "name"
                calls[caller, call.callee] = Item(rank, caller, call.callee, guess)
            if call.callee not in ranks:
                further = rank * (_STEP + (1 - _STEP) * relevance.of(call.callee))
                level[call.callee] = max(level.get(call.callee, 0.0), further)
    return Reached(_ordered(calls.values(), ranks), tuple(roots), unexplored)


class _Relevance:
    """How much of the issue is about a definition, up to 1."""

    def __init__(self, issue: IssueModules) -> None:
        self._named = issue.symbols
        self._words = issue.words
        self._most = max(issue.words.values(), default=1.0)

    def of(self, symbol: SymbolId) -> float:
        """Named, or of a class that is, or at least sharing words."""
        owner = SymbolId(symbol.rpartition(".")[0] if "." in symbol.partition("::")[2] else "")
        named = max(self._named.get(symbol, 0.0), self._named.get(owner, 0.0) / 3) / _NAMED
        words = words_of(symbol.partition("::")[2])
        shared = sum(self._words.get(word, 0.0) for word in words) / (
            self._most * (len(words) or 1)
        )
        return min(1.0, _LEAST + 0.7 * min(1.0, named) + 0.3 * shared)


def _known(caller: SymbolId, ranks: Mapping[SymbolId, float]) -> SymbolId | None:
    """The definition that was asked about, for a caller within it, as a lambda is."""
    path, _, qualname = caller.partition("::")
    while qualname and SymbolId(f"{path}::{qualname}") not in ranks:
        qualname = qualname.rpartition(".")[0]
    known = SymbolId(f"{path}::{qualname}")
    return known if known in ranks else None


def _shown(callee: SymbolId, symbols: Mapping[SymbolId, Symbol], tests: Collection[str]) -> bool:
    """Whether a callee is a named definition of the repository, and no test."""
    path, _, qualname = callee.partition("::")
    return path not in tests and "<" not in qualname and callee in symbols


def _ordered(calls: Iterable[Item], ranks: Mapping[SymbolId, float]) -> tuple[Item, ...]:
    """Calls and definitions in one order; a call shows its caller too, which alone counts half."""
    items = [*calls, *(Item(rank / 2, symbol) for symbol, rank in ranks.items())]
    items.sort(key=lambda one: (-one.rank, one.symbol, one.callee or ""))
    return tuple(items)
