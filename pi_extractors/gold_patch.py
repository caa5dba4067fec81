"""The gold patch as PI."""

from typing import TYPE_CHECKING

from harness.records import Instance
from pi_extractors.base import EditLog, Snapshot
from pi_extractors.budget import Block, fit_blocks
from pi_extractors.diffs import new_path, old_path, parse_diff
from pi_extractors.records import PIRecord, SourceName
from pi_extractors.source import BudgetedSource, digest

if TYPE_CHECKING:
    from unidiff.patch import PatchedFile


class GoldPatchSource(BudgetedSource):
    """The unified diff of the gold commit, restricted to the files that it modifies.

    Commit messages and index lines are left out; whole hunks are cut, the last ones first.
    Source: CHOP App. D.1, p1.
    """

    name = SourceName.GOLD_PATCH
    extractor = "gold_patch/1"
    reads_repository = False

    def inputs(
        self, item: Instance, snapshot: Snapshot | None = None, edits: EditLog = (), step: int = 0
    ) -> dict[str, str]:
        """Digests of what the text is made from."""
        return {"patch": digest(item.patch)}

    def extract(
        self,
        item: Instance,
        snapshot: Snapshot | None = None,
        edits: EditLog = (),
        *,
        step: int = 0,
    ) -> PIRecord:
        """The patch within the budget. Raises ExtractionError for a malformed or hostile one."""
        blocks: list[Block] = []
        for file in parse_diff(item.patch, f"{item.instance_id}: patch"):
            blocks += _blocks(file, len(blocks))
        fitted = fit_blocks(blocks, self.budget, self.counter, unit="hunks")
        return self.make(item.instance_id, fitted, self.inputs(item))


def _blocks(file: "PatchedFile", first: int) -> list[Block]:
    """A block for each hunk; one for a file that is renamed, or binary, without any."""
    old, new = old_path(file), new_path(file)
    head = f"--- {f'a/{old}' if old else '/dev/null'}\n+++ {f'b/{new}' if new else '/dev/null'}"
    if old and new and old != new:
        head = f"rename from {old}\nrename to {new}\n{head}"
    if file.is_binary_file:
        return [Block(f"{head}\n[binary file]", first)]
    return [
        Block(str(hunk).rstrip("\n"), first + place, (head,)) for place, hunk in enumerate(file)
    ] or [Block(head, first)]
