"""The gold patch as the measure of edits: which hunks an edit meets, and what they would make."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

from harness.records import Instance
from pi_extractors.base import ExtractionError
from pi_extractors.diffs import new_path, old_path, parse_diff

_MOST_PAIRS = 4_000_000

Changed = Counter[tuple[str, str, str]]
"""Changed lines: path, sign and line without white space at its ends, with their number."""


@dataclass(frozen=True)
class GoldHunk:
    """One hunk: its lines with their sign (`-`, `+` or a space), and the first one's number."""

    number: int
    lines: tuple[tuple[str, str], ...]
    start: int

    @property
    def added(self) -> list[str]:
        """The lines that it adds."""
        return [text for sign, text in self.lines if sign == "+"]

    @property
    def old(self) -> list[str]:
        """The lines before the change, context too."""
        return [text for sign, text in self.lines if sign != "+"]

    def core(self) -> tuple[int, int, list[str]]:
        """From the first to the last changed line: its range among the old lines, and the new
        lines in its place."""
        changed = [n for n, (sign, _) in enumerate(self.lines) if sign != " "]
        before, core = self.lines[: changed[0]], self.lines[changed[0] : changed[-1] + 1]
        removed = sum(sign != "+" for sign, _ in core)
        return len(before), len(before) + removed, [text for sign, text in core if sign != "-"]


@dataclass(frozen=True)
class GoldFile:
    """One file of the gold patch; `old` is None for a new one, `new` for one that is removed."""

    old: str | None
    new: str | None
    hunks: tuple[GoldHunk, ...]

    @property
    def path(self) -> str:
        """Its path after the change, or before it when there is none."""
        return self.new or self.old or ""

    def changed(self, hunks: Iterable[GoldHunk] | None = None) -> Changed:
        """The changed lines of some hunks, or of all."""
        chosen = self.hunks if hunks is None else hunks
        return changed_lines(self.path, (line for hunk in chosen for line in hunk.lines))

    def content(self) -> str:
        """The content of a new file."""
        return "".join(f"{line}\n" for hunk in self.hunks for line in hunk.added)

    def applied_to(self, text: str) -> tuple[str, list[GoldHunk]]:
        """A piece of the file with every hunk made whose change lies inside it, and those hunks.

        A hunk lies inside where its changed lines stand in the piece, and its context as far as
        the piece goes, in one place only; of two hunks in one place, the one with more context.
        """
        ending = "\n" if text.endswith("\n") else ""
        lines = text.removesuffix("\n").split("\n")
        found = []
        for hunk in self.hunks:
            if place := _place(lines, hunk):
                found.append((place[1], -hunk.number, place[0], hunk))
        made: list[tuple[int, int, GoldHunk]] = []
        for _, _, at, hunk in sorted(found, key=lambda one: one[:2], reverse=True):
            begin, end, _ = hunk.core()
            if all(at + end <= i or at + begin >= j for i, j, _ in made) and not any(
                i == at + begin for i, _, _ in made
            ):
                made.append((at + begin, at + end, hunk))
        for begin, end, hunk in sorted(made, key=lambda one: one[0], reverse=True):
            lines[begin:end] = hunk.core()[2]
        return "\n".join(lines) + ending, sorted(
            (hunk for *_, hunk in made), key=lambda one: one.number
        )


def gold_files(instance: Instance) -> tuple[GoldFile, ...]:
    """The files of an instance's gold patch. Raises ExtractionError for a malformed one."""
    found = []
    number = 0
    for file in parse_diff(instance.patch, f"{instance.instance_id}: patch"):
        hunks = []
        for hunk in file:
            lines = tuple(
                (line.line_type, line.value.rstrip("\r\n"))
                for line in hunk
                if line.line_type in (" ", "-", "+")
            )
            if any(sign != " " for sign, _ in lines):
                hunks.append(GoldHunk(number, lines, hunk.source_start))
            number += 1
        found.append(GoldFile(old_path(file), new_path(file), tuple(hunks)))
    return tuple(found)


def changed_lines(path: str, lines: Iterable[tuple[str, str]]) -> Changed:
    """Signed lines as a multiset; blank ones do not count."""
    return Counter(
        (path, sign, text.strip()) for sign, text in lines if sign != " " and text.strip()
    )


def text_change(path: str, old: str, new: str) -> Changed:
    """The changed lines between two texts; of long ones, those that one has more often."""
    before, after = old.split("\n"), new.split("\n")
    if len(before) * len(after) > _MOST_PAIRS:
        was = changed_lines(path, (("-", line) for line in before))
        now = changed_lines(path, (("+", line) for line in after))
        return _more(was, now) + _more(now, was)
    signed: list[tuple[str, str]] = []
    matcher = SequenceMatcher(None, before, after, autojunk=False)
    for tag, i, j, k, m in matcher.get_opcodes():
        if tag != "equal":
            signed += [("-", line) for line in before[i:j]] + [("+", line) for line in after[k:m]]
    return changed_lines(path, signed)


def diff_change(diff: str) -> Changed:
    """The changed lines of a unified diff; none when it is malformed."""
    total: Changed = Counter()
    try:
        for file in parse_diff(diff, "diff"):
            path = new_path(file) or old_path(file) or ""
            total += changed_lines(path, ((one.line_type, one.value) for h in file for one in h))
    except ExtractionError:
        return Counter()
    return total


def likeness(emitted: Changed, gold: Changed) -> float:
    """How like an edit is to gold hunks, from 0 to 1: twice the changed lines in common over all,
    and no more than that of the added lines alone, where the hunks add any: to remove the right
    lines is not to know what belongs there.
    """
    added = _added(gold)
    whole = _dice(emitted, gold)
    return min(whole, _dice(_added(emitted), added)) if added else whole


def _more(first: Changed, second: Changed) -> Changed:
    """The lines that the first has more often than the second, signs aside."""
    others = {(path, text): count for (path, _, text), count in second.items()}
    return +Counter({key: n - others.get((key[0], key[2]), 0) for key, n in first.items()})


def _dice(first: Changed, second: Changed) -> float:
    whole = first.total() + second.total()
    return 2 * (first & second).total() / whole if whole else 0.0


def _added(lines: Changed) -> Changed:
    return Counter({line: count for line, count in lines.items() if line[1] == "+"})


def closest(emitted: Changed, files: Iterable[GoldFile]) -> tuple[float, list[GoldHunk]]:
    """The hunks whose changed lines together are most like an edit's, and how like they are."""
    parts = [
        (_dice(emitted, lines), hunk, lines)
        for file in files
        for hunk in file.hunks
        if emitted & (lines := file.changed([hunk]))
    ]
    best, chosen = 0.0, []
    whole: Changed = Counter()
    for _, hunk, lines in sorted(parts, key=lambda one: (-one[0], one[1].number)):
        now = _dice(emitted, whole + lines)
        if now > best:
            best, whole = now, whole + lines
            chosen.append(hunk)
    return likeness(emitted, whole), chosen


def _place(lines: Sequence[str], hunk: GoldHunk) -> tuple[int, int] | None:
    """Where a hunk's old lines begin (before the text, perhaps), and how many of them are in it."""
    old = [line.rstrip() for line in hunk.old]
    begin, end, _ = hunk.core()
    bare = [line.rstrip() for line in lines]
    places = []
    for at in range(-begin, len(bare) - end + 1):
        inside = range(max(0, -at), min(len(old), len(bare) - at))
        if all(bare[at + i] == old[i] for i in inside) and any(old[i] for i in inside):
            places.append((at, len(inside)))
    most = max((size for _, size in places), default=0)
    best = [one for one in places if one[1] == most]
    return best[0] if len(best) == 1 else None
