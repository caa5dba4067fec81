"""Cutting text to a token budget: whole blocks by importance, else whole lines, never less.

A cut is visible: the text then ends with one marker line.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pi_extractors.base import TokenCounter
from pi_extractors.records import SourceName

BUDGETS: dict[SourceName, int] = {
    SourceName.CALL_GRAPH: 1024,
    SourceName.TEST_MANIFEST: 1536,
    SourceName.GOLD_PATCH: 2048,
    SourceName.NEXT_FILE: 128,
    SourceName.GOLD_ANSWER: 128,
}
"""Tokens of each source unless told otherwise; `docs/pi.md` says how they were chosen."""

_LEAST_LINES = 4


@dataclass(frozen=True, slots=True)
class Block:
    """A part of a text that is kept or left out.

    `heads` are lines that stand before it, from the outermost in; those that the block shown
    before has too are not repeated. `rank` is its importance: the lowest is kept first. Where
    `divisible`, its first lines may be kept when the whole does not fit.
    """

    text: str
    rank: int = 0
    heads: tuple[str, ...] = ()
    divisible: bool = False


@dataclass(frozen=True, slots=True)
class Fitted:
    """A text within its budget; `left_out` counts blocks that are missing, in whole or in part."""

    text: str
    tokens: int
    left_out: int = 0

    @property
    def truncated(self) -> bool:
        """Whether something was cut."""
        return self.left_out > 0


def fit_blocks(
    blocks: Sequence[Block], budget: int, counter: TokenCounter, *, unit: str = "blocks"
) -> Fitted:
    """The most important blocks that fit, in the order given; `unit` is what the marker calls them.

    A block that does not fit does not keep later, smaller ones out. The text is empty when not
    even a line and the marker fit.
    """
    whole = render(blocks)
    if (tokens := counter.count(whole)) <= budget:
        return Fitted(whole, tokens)
    room = budget - counter.count(_marker(len(blocks), len(blocks), unit))
    order = sorted(range(len(blocks)), key=lambda place: (blocks[place].rank, place))
    kept: dict[int, Block] = {}
    added: list[int] = []
    paid: set[tuple[str, ...]] = set()
    for place in order:
        block = blocks[place]
        cost = counter.count(block.text + "\n") + _heads_cost(block, paid, counter)
        if cost > room and (block.divisible or not kept):
            least = _LEAST_LINES if kept else 1
            part = _first_lines(block, room - _heads_cost(block, paid, counter), least, counter)
            if part is None:
                continue
            block, cost = part, room
        elif cost > room:
            continue
        kept[place] = block
        added.append(place)
        room -= cost
        paid.update(block.heads[: depth + 1] for depth in range(len(block.heads)))
    while True:
        text = _with_marker(kept, blocks, unit)
        if (tokens := counter.count(text)) <= budget:
            whole_ones = sum(kept[place] is blocks[place] for place in kept)
            return Fitted(text, tokens, len(blocks) - whole_ones)
        if not added:
            return Fitted("", 0, len(blocks))
        last = added[-1]
        shorter = _without_last_line(kept[last])
        if shorter is None:
            del kept[last]
            added.pop()
        else:
            kept[last] = shorter


def fit_lines(text: str, budget: int, counter: TokenCounter) -> Fitted:
    """The first lines of a text that fit."""
    if (tokens := counter.count(text)) <= budget:
        return Fitted(text, tokens)
    lines = text.split("\n")

    def cut(kept: int) -> str:
        return "\n".join((*lines[:kept], _marker(len(lines) - kept, len(lines), "lines")))

    kept = _most(len(lines) - 1, lambda number: counter.count(cut(number)) <= budget)
    if kept == 0:
        return Fitted("", 0, len(lines))
    return Fitted(cut(kept), counter.count(cut(kept)), len(lines) - kept)


def render(blocks: Sequence[Block]) -> str:
    """Blocks under their heads, one line break after each."""
    lines: list[str] = []
    before: tuple[str, ...] = ()
    for block in blocks:
        shared = 0
        while shared < min(len(before), len(block.heads)) and (
            before[shared] == block.heads[shared]
        ):
            shared += 1
        lines += block.heads[shared:]
        lines.append(block.text)
        before = block.heads
    return "\n".join(lines)


def _with_marker(kept: dict[int, Block], blocks: Sequence[Block], unit: str) -> str:
    whole_ones = sum(kept[place] is blocks[place] for place in kept)
    marker = _marker(len(blocks) - whole_ones, len(blocks), unit)
    shown = render([kept[place] for place in sorted(kept)])
    return f"{shown}\n{marker}" if kept else ""


def _marker(left_out: int, total: int, unit: str) -> str:
    return f"[cut to fit: {left_out} of {total} {unit} left out or cut short]"


def _heads_cost(block: Block, paid: set[tuple[str, ...]], counter: TokenCounter) -> int:
    fresh = [line for depth, line in enumerate(block.heads) if block.heads[: depth + 1] not in paid]
    return counter.count("\n".join((*fresh, ""))) if fresh else 0


def _first_lines(block: Block, room: int, least: int, counter: TokenCounter) -> Block | None:
    """As many first lines as fit; None when these are fewer than `least`."""
    lines = block.text.split("\n")
    kept = _most(
        len(lines) - 1, lambda number: counter.count("\n".join((*lines[:number], ""))) <= room
    )
    if kept < least:
        return None
    return Block("\n".join(lines[:kept]), block.rank, block.heads, divisible=True)


def _most(limit: int, fits: Callable[[int], bool]) -> int:
    """The largest number up to a limit that fits, where all smaller ones do; 0 if none does."""
    low, high = 0, limit
    while low < high:
        middle = (low + high + 1) // 2
        if fits(middle):
            low = middle
        else:
            high = middle - 1
    return low


def _without_last_line(block: Block) -> Block | None:
    """The block a line shorter, where it is one that may be divided."""
    head, cut, _ = block.text.rpartition("\n")
    if not block.divisible or not cut:
        return None
    return Block(head, block.rank, block.heads, block.divisible)
