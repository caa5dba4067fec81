"""The file that the gold patch would change next, as PI."""

import posixpath
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.records import Instance
from pi_extractors.base import Edit, EditLog, ExtractionError, Snapshot
from pi_extractors.budget import Block, fit_blocks
from pi_extractors.diffs import added_lines, new_path, old_path, parse_diff
from pi_extractors.python_source import module_docstring
from pi_extractors.records import PIRecord, SourceName
from pi_extractors.source import BudgetedSource, digest

if TYPE_CHECKING:
    from unidiff.patch import PatchedFile


@dataclass(frozen=True, slots=True)
class _Target:
    """A file of the gold patch: an edit of any of its paths counts."""

    old: str | None
    new: str | None
    created: bytes  # the content of a new file

    @property
    def label(self) -> str:
        if self.old and self.new:
            return self.new if self.old == self.new else f"{self.old} (rename to {self.new})"
        return f"{self.new} (new file)" if self.new else f"{self.old} (remove)"


class NextFileSource(BudgetedSource):
    """The path of the gold patch's next file given the edit log, with its module docstring.

    Files come in the patch's order; one that the agent has edited is done. The text is empty when
    all are. Only edits made up to the step count, so that a whole log can be given.
    Source: CHOP App. D.1, p3.
    """

    name = SourceName.NEXT_FILE
    extractor = "next_file/1"

    def inputs(
        self, item: Instance, snapshot: Snapshot | None = None, edits: EditLog = (), step: int = 0
    ) -> dict[str, str]:
        """Digests of what the text is made from."""
        return {
            "patch": digest(item.patch),
            "edits": digest(*sorted(_edited(edits, step))),
            "snapshot": snapshot.identity if snapshot else "",
        }

    def extract(
        self,
        item: Instance,
        snapshot: Snapshot | None = None,
        edits: EditLog = (),
        *,
        step: int = 0,
    ) -> PIRecord:
        """The next file at a step. Raises ExtractionError without a snapshot, or for a malformed
        or hostile patch."""
        if snapshot is None:
            raise ExtractionError(f"{item.instance_id}: next_file reads the repository")
        done = _edited(edits, step)
        blocks: list[Block] = []
        for target in _targets(item):
            if target.old not in done and target.new not in done:
                blocks = _blocks(target, snapshot)
                break
        fitted = fit_blocks(blocks, self.budget, self.counter, unit="parts")
        return self.make(
            item.instance_id, fitted, self.inputs(item, snapshot, edits, step), step=step
        )


def next_files(
    source: NextFileSource, item: Instance, snapshot: Snapshot, edits: EditLog, steps: Iterable[int]
) -> Sequence[PIRecord]:
    """The records of a trajectory's steps, as `extract` makes them one by one.

    Raises ExtractionError as `extract` does.
    """
    made: dict[frozenset[str], PIRecord] = {}
    records = []
    for step in steps:
        done = frozenset(_edited(edits, step))
        if done not in made:
            made[done] = source.extract(item, snapshot, edits, step=step)
        records.append(made[done].model_copy(update={"step": step}))
    return records


def _edited(edits: Iterable[Edit], step: int) -> set[str]:
    return {posixpath.normpath(edit.path) for edit in edits if edit.step <= step}


def _targets(item: Instance) -> Sequence[_Target]:
    return [_target(file) for file in parse_diff(item.patch, f"{item.instance_id}: patch")]


def _target(file: "PatchedFile") -> _Target:
    old, new = old_path(file), new_path(file)
    return _Target(old, new, added_lines(file) if old is None else b"")


def _blocks(target: _Target, snapshot: Snapshot) -> list[Block]:
    blocks = [Block(target.label, rank=0)]
    path = target.old or target.new or ""
    if path.endswith((".py", ".pyx", ".pyi")):
        content = snapshot.read(path) if path in snapshot.files else target.created
        if docstring := module_docstring(content):
            blocks.append(Block(f'"""{docstring}"""', rank=1, divisible=True))
    return blocks
