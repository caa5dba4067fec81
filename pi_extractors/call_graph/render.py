"""A call graph as text: the best of it that a token budget holds, by file, class and definition.

[1] pkg/sessions.py
class Session(Base):
  def request(self, method, url): line 51
    calls .send, merge_hooks, Request.prepare [2]
[2] pkg/models.py
"""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pi_extractors.base import TokenCounter
from pi_extractors.budget import Fitted
from pi_extractors.call_graph.graph import Symbol, SymbolId
from pi_extractors.call_graph.reach import Item, Reached

_HEAD = (
    "Call graph of the modules that the issue is about. A leading dot: of the same class; [n]: in "
    "file n, else in the same file; ?: guessed from the name."
)
_MAX_SIGNATURE = 120
_MAX_NAME = 120


@dataclass(slots=True)
class _Definition:
    """What is shown of a definition: its line alone, or with the calls that it makes."""

    symbol: Symbol
    callees: list[Item] = field(default_factory=list)


def render(
    reached: Reached, symbols: Mapping[SymbolId, Symbol], budget: int, counter: TokenCounter
) -> Fitted:
    """As many of the best items as the budget holds, whole lines; empty when there is no room."""
    items = reached.items
    whole = _text(items, symbols, 0)
    if (tokens := counter.count(whole)) <= budget:
        return Fitted(whole, tokens)

    def cost(number: int) -> int:
        return counter.count(_text(items[:number], symbols, len(items) - number))

    number = bisect_right(range(len(items)), budget, key=cost) - 1
    while number > 0 and cost(number) > budget:
        number -= 1
    if number <= 0:
        return Fitted("", 0, len(items))
    text = _text(items[:number], symbols, len(items) - number)
    return Fitted(text, counter.count(text), len(items) - number)


def _text(items: Sequence[Item], symbols: Mapping[SymbolId, Symbol], left_out: int) -> str:
    if not items:
        return ""
    shown: dict[str, dict[SymbolId, _Definition]] = {}
    for item in items:
        symbol = symbols[item.symbol]
        one = shown.setdefault(symbol.path, {}).setdefault(symbol.id, _Definition(symbol))
        if item.callee:
            one.callees.append(item)
            shown.setdefault(symbols[item.callee].path, {})
    numbers = {path: number for number, path in enumerate(shown, start=1)}
    lines = [_HEAD]
    for path, definitions in shown.items():
        lines.append(f"[{numbers[path]}] {path}")
        lines += _file(definitions, symbols, numbers)
    if left_out:
        total = len(items) + left_out
        lines.append(f"[cut to fit: {left_out} of {total} calls and definitions left out]")
    return "\n".join(lines)


def _file(
    definitions: Mapping[SymbolId, _Definition],
    symbols: Mapping[SymbolId, Symbol],
    numbers: Mapping[str, int],
) -> list[str]:
    """The lines of a file, definitions in its order, methods below their class."""
    lines: list[str] = []
    inside = ""
    for one in sorted(definitions.values(), key=lambda one: (one.symbol.line, one.symbol.id)):
        symbol = one.symbol
        owner = symbol.qualname if symbol.kind == "class" else _class_of(symbol, symbols)
        if owner and owner != inside:
            lines.append(_heading(symbols[SymbolId(f"{symbol.path}::{owner}")]))
        inside = owner
        indent = "  " if owner else ""
        if symbol.kind == "function":
            name = symbol.qualname.removeprefix(f"{owner}.") if owner else symbol.qualname
            lines.append(f"{indent}def {_signature(name, symbol)}: line {symbol.line}")
            indent += "  "
        if one.callees:
            names = dict.fromkeys(_callee(item, owner, symbols, numbers) for item in one.callees)
            lines.append(f"{indent}calls {', '.join(names)}")
    return lines


def _heading(symbol: Symbol) -> str:
    return f"class {_signature(symbol.qualname, symbol)}: line {symbol.line}"


def _callee(
    item: Item, inside: str, symbols: Mapping[SymbolId, Symbol], numbers: Mapping[str, int]
) -> str:
    assert item.callee is not None
    callee = symbols[item.callee]
    path = item.symbol.partition("::")[0]
    name = callee.qualname.removesuffix(".__init__") or "the module"
    if callee.path == path and inside and name.startswith(f"{inside}."):
        name = name.removeprefix(inside)
    name = _short(name)
    if callee.path != path:
        name = f"{name} [{numbers[callee.path]}]"
    return f"{name}?" if item.guess else name


def _class_of(symbol: Symbol, symbols: Mapping[SymbolId, Symbol]) -> str:
    """The innermost class around a definition; empty for none."""
    name = symbol.qualname.rpartition(".")[0]
    while name:
        owner = symbols.get(SymbolId(f"{symbol.path}::{name}"))
        if owner is not None and owner.kind == "class":
            return name
        name = name.rpartition(".")[0]
    return ""


def _signature(name: str, symbol: Symbol) -> str:
    """A name with its parameters or bases on one line, cut at a comma where they are long."""
    signature = " ".join(symbol.signature.split())
    if len(signature) > _MAX_SIGNATURE:
        signature = signature[:_MAX_SIGNATURE].rpartition(",")[0] + ", …)"
    return _short(name) + signature


def _short(name: str) -> str:
    return name if len(name) <= _MAX_NAME else f"{name[:_MAX_NAME]}…"
