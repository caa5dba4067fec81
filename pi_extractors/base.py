"""The contracts of PI extraction: a repository's snapshot, an edit log, a source."""

from collections.abc import Mapping, Sequence
from typing import Protocol, TypeVar

from pydantic import Field

from harness.records import Record
from pi_extractors.records import PIRecord, Skipped, SourceName, Tier

Item = TypeVar("Item", contravariant=True)


class ExtractionError(ValueError):
    """An input cannot be used; the text says which, where, what was found and what to do."""


class Snapshot(Protocol):
    """The files of a repository at one commit; never of a later one.

    Only regular files: symbolic links, special files and names that lead outside are skipped.
    """

    @property
    def identity(self) -> str:
        """Digest of all paths and contents."""
        ...

    @property
    def files(self) -> Mapping[str, str]:
        """Git blob id of every file by its path (POSIX, relative to the root), in path order."""
        ...

    @property
    def skipped(self) -> Sequence[Skipped]:
        """What the repository has and the snapshot leaves out."""
        ...

    def read(self, path: str) -> bytes:
        """A file's content. Raises ExtractionError for a path that `files` does not have."""
        ...


class Edit(Record):
    """A file that an agent changed."""

    step: int = Field(ge=0, description="Model calls made before or at the change.")
    path: str = Field(description="POSIX, relative to the repository's root.")


EditLog = Sequence[Edit]


class TokenCounter(Protocol):
    """Counts tokens as some model's tokenizer does."""

    @property
    def name(self) -> str:
        """What a record's `tokenizer` says."""
        ...

    def count(self, text: str) -> int:
        """The number of tokens of a text."""
        ...


class PISource(Protocol[Item]):
    """Extracts one kind of PI. Deterministic: same inputs, same bytes.

    `Item` is what is asked about: an `Instance`, or a `Question` of a mathematical suite.
    """

    @property
    def name(self) -> SourceName:
        """Its name."""
        ...

    @property
    def tier(self) -> Tier:
        """Who could have it."""
        ...

    def extract(
        self, item: Item, snapshot: Snapshot | None = None, edits: EditLog = (), *, step: int = 0
    ) -> PIRecord:
        """The PI at a step, given the edits made before it.

        Raises ExtractionError when the item is unusable, or a source that reads the repository
        gets no snapshot.
        """
        ...
