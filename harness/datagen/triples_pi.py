"""The PI texts of states: from records, and for `next_file` made anew at every step."""

import hashlib
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from harness.datagen.pi_file import read_records
from harness.datagen.snapshots import Snapshots
from harness.environments.errors import ImageError
from harness.records import Instance
from pi_extractors.base import EditLog, ExtractionError, Snapshot, TokenCounter
from pi_extractors.next_file import NextFileSource
from pi_extractors.records import PIRecord, SourceName


class PIText(NamedTuple):
    """What a row has of the PI; no text: the source has none in this state."""

    text: str
    tokens: int


class PITexts:
    """The texts of one file of records. `next_file` records only say which budget to use.

    Raises ExtractionError for a file with no usable record.
    """

    def __init__(
        self,
        path: Path,
        sources: Sequence[SourceName] | None,
        snapshots: Snapshots,
        counter: TokenCounter,
    ) -> None:
        self.sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        self._records: dict[tuple[str, SourceName], PIRecord] = {}
        for record in read_records(path):
            self._records.setdefault((record.instance_id, record.source), record)
        found = {source for _, source in self._records} - {SourceName.GOLD_ANSWER}
        wanted = found if sources is None else set(sources)
        if missing := sorted(wanted - found):
            raise ExtractionError(f"{path}: no record of {', '.join(missing)}; extract it first")
        if not wanted:
            raise ExtractionError(f"{path}: no PI records of instances")
        self.sources = tuple(sorted(wanted))
        self._snapshots = snapshots
        self._counter = counter
        self._stack = ExitStack()
        self._opened: tuple[str, Snapshot | None] = ("", None)
        self._next: dict[tuple[str, frozenset[str]], PIText | None] = {}
        self.problems: dict[str, str] = {}

    def get(
        self, instance: Instance, source: SourceName, edits: EditLog, turn: int
    ) -> PIText | None:
        """The text before a turn; None when there is no record or no snapshot of the instance."""
        record = self._records.get((instance.instance_id, source))
        if record is None:
            return None
        if source is not SourceName.NEXT_FILE:
            return PIText(record.text, record.tokens)
        key = instance.instance_id, frozenset(edit.path for edit in edits)
        if key not in self._next:
            self._next[key] = self._extract(instance, record, edits, turn)
        return self._next[key]

    def close(self) -> None:
        """Close the snapshot that is open."""
        self._stack.close()

    def _extract(
        self, instance: Instance, record: PIRecord, edits: EditLog, turn: int
    ) -> PIText | None:
        snapshot = self._snapshot(instance)
        if snapshot is None:
            return None
        made = NextFileSource(self._counter, record.budget).extract(
            instance, snapshot, edits, step=turn - 1
        )
        return PIText(made.text, made.tokens)

    def _snapshot(self, instance: Instance) -> Snapshot | None:
        if self._opened[0] != instance.instance_id:
            self._stack.close()
            try:
                opened = self._stack.enter_context(self._snapshots.open(instance))
                self._opened = instance.instance_id, opened.snapshot
            except (ImageError, ExtractionError) as error:
                self.problems[instance.instance_id] = str(error)
                self._opened = instance.instance_id, None
        return self._opened[1]
