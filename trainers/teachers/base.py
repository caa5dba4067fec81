"""What a teacher is to a training step."""

from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

from trainers.data.trajectories import Trajectory
from trainers.losses.chunked import Source


class Described(Protocol):
    """What has to be known of a model before it is asked.

    name, place: for messages. sha256: digest of weights and adapters. tokens: by id.
    tokenizer_sha256: of `tokenizer.json`. embedded: rows of its embeddings. longest: tokens it
    takes. vocabulary: the ids, from 0, that its distributions are about; set when they are known.
    """

    vocabulary: int

    @property
    def name(self) -> str: ...
    @property
    def place(self) -> str: ...
    @property
    def sha256(self) -> str: ...
    @property
    def tokens(self) -> Mapping[int, str]: ...
    @property
    def tokenizer_sha256(self) -> str: ...
    @property
    def embedded(self) -> int: ...
    @property
    def longest(self) -> int: ...


class Teacher(Protocol):
    """A frozen source of next-token distributions at the states that trajectories were sampled in.

    Shapes: N sampled tokens of all given trajectories, V the ids that teacher and student share.
    """

    @property
    def model(self) -> Described:
        """Whose distributions they are."""
        ...

    def check(self, trajectories: Sequence[Trajectory]) -> None:
        """Raise MismatchError or DataError, before a training starts, for what it cannot do."""
        ...

    def project(self, trajectories: Sequence[Trajectory]) -> Source:
        """The distributions before each sampled token, in order: N tokens, V ids.

        No gradient reaches them. Each trajectory's are the same whatever others it is
        asked for with, to the bit, so that a resumed training repeats what it did.
        """
        ...


@runtime_checkable
class Fetching(Protocol):
    """A teacher that is faster when it is asked for much at once."""

    def fetch(self, trajectories: Sequence[Trajectory]) -> None:
        """Get ready what `project` will be asked for, a few trajectories at a time."""
        ...
