"""The gold patch as the measure of edits: which hunks an edit meets, and what they would make."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

from harness.records import Instance
from pi_extractors.base import ExtractionError
from pi_extractors.diffs import new_path, old_path, parse_diff

Changed = Counter[tuple[str, str, str]]
"""Changed lines: path, sign and line without white space at its ends, with their number."""


@dataclass(frozen=True)
class GoldHunk:
    """One hunk: its lines with their sign (`-`, `+` or a space)."""

    number: int
    lines: tuple[tuple[str, str], ...]

    @property
    def added(self) -> list[str]:
        """The lines that it adds."""
        return [text for sign, text in self.lines if sign == "+"]

    def trimmed(self, context: int) -> tuple[list[str], list[str]]:
        """Old and new lines with at most so many lines of context before and after the change."""
        changed = [n for n, (sign, _) in enumerate(self.lines) if sign != " "]
        kept = self.lines[max(0, changed[0] - context) : changed[-1] + 1 + context]
        old = [text for sign, text in kept if sign != "+"]
        return old, [text for sign, text in kept if sign != "-"]


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

        A hunk lies inside where its old lines are found exactly once, with three lines of context
        or as many less as it takes; one that only adds needs a line of context.
        """
        lines = text.split("\n")
        made = []
        for hunk in self.hunks:
            for context in (3, 2, 1, 0):
                old, new = hunk.trimmed(context)
                at = _only_place(lines, old)
                if at is not None:
                    lines[at : at + len(old)] = new
                    made.append(hunk)
                    break
        return "\n".join(lines), made


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
                hunks.append(GoldHunk(number, lines))
            number += 1
        found.append(GoldFile(old_path(file), new_path(file), tuple(hunks)))
    return tuple(found)


def changed_lines(path: str, lines: Iterable[tuple[str, str]]) -> Changed:
    """Signed lines as a multiset; blank ones do not count."""
    return Counter(
        (path, sign, text.strip()) for sign, text in lines if sign != " " and text.strip()
    )


def text_change(path: str, old: str, new: str) -> Changed:
    """The changed lines between two texts."""
    before, after = old.split("\n"), new.split("\n")
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


def dice(first: Changed, second: Changed) -> float:
    """The share of changed lines that two edits have in common, from 0 to 1."""
    whole = first.total() + second.total()
    return 2 * (first & second).total() / whole if whole else 0.0


def _only_place(lines: Sequence[str], wanted: Sequence[str]) -> int | None:
    """Where lines stand, when they stand in one place only."""
    if not wanted or not any(line.strip() for line in wanted):
        return None
    bare = [line.rstrip() for line in lines]
    asked = [line.rstrip() for line in wanted]
    places = [
        at
        for at in range(len(bare) - len(asked) + 1)
        if bare[at] == asked[0] and bare[at : at + len(asked)] == asked
    ]
    return places[0] if len(places) == 1 else None
