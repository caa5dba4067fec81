"""A teacher that gives text alone: what it is asked, and what it answers."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

from harness.records.base import Record


class Message(Record):
    """One message of a conversation."""

    role: str
    content: str


class Ask(NamedTuple):
    """A text to continue.

    messages: the conversation before the answer that `text` begins; none: `text` is all there is.
    characters: of a continuation that are compared. tokens: the most that it may have, counted by
    the student's tokeniser; a teacher of other tokens may need more for as much text.
    """

    messages: tuple[Message, ...]
    text: str
    characters: int
    tokens: int


class Answer(Record):
    """Continuations of one text, and what they cost.

    texts: N of them, as they came, not cut to `Ask.characters`. prompt_tokens, generated_tokens: of
    the teacher's, over all requests; cached_tokens: those of the prompt that it need not compute.
    seconds: from the first request to the last answer. replayed: nothing was paid, because the
    answer had been kept.
    """

    texts: tuple[str, ...]
    prompt_tokens: int
    generated_tokens: int
    cached_tokens: int = 0
    requests: int = 1
    seconds: float = 0.0
    replayed: bool = False


class TextTeacher(Protocol):
    """Samples continuations. Its settings say at which temperature."""

    @property
    def identity(self) -> dict[str, str]:
        """What decides its answers besides the ask: model, how it is prompted, sampling."""
        ...

    def check(self, asks: Sequence[Ask]) -> None:
        """Raise TeacherError, before anything is paid, for what it cannot do."""
        ...

    def continuations(
        self, asks: Sequence[Ask], count: int, seed: int
    ) -> Iterator[tuple[int, Answer]]:
        """N continuations of each text, as they are ready: the ask's number, and the answer.

        Raises TeacherError; what was given until then is good.
        """
        ...
