"""Where an action is among the sampled tokens."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from harness.datagen.triples_actions import Answer
from pi_extractors.base import ExtractionError

if TYPE_CHECKING:
    from tokenizers import Tokenizer


class TokenSpan(NamedTuple):
    """Tokens of an answer that belong to the action: from `start` up to before `end`."""

    start: int
    end: int


class TokenSpans:
    """Finds actions in sampled ids with the model's `tokenizer.json`.

    Raises ExtractionError when the file is none, or the `tokenizers` library is not installed.
    """

    def __init__(self, path: Path) -> None:
        self._tokenizer = load_tokenizer(path)
        self.name = f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"

    def find(self, ids: Sequence[int], answer: Answer, call: int) -> TokenSpan | None:
        """The tokens with any character of a call; None where the ids' text does not have it
        exactly once, as when a native call was written in another way than `<tool_call>`."""
        place = answer.calls[call]
        wanted = answer.text[place.start : place.end]
        text = self._text(ids)
        at = text.find(wanted)
        if not wanted or at < 0 or text.find(wanted, at + 1) >= 0:
            return None
        start = self._first(ids, at + 1) - 1
        end = self._first(ids, at + len(wanted))
        return TokenSpan(start, end)

    def _first(self, ids: Sequence[int], characters: int) -> int:
        """The least number of tokens whose text has so many characters."""
        low, high = 0, len(ids)
        while low < high:
            middle = (low + high) // 2
            if len(self._text(ids[:middle])) >= characters:
                high = middle
            else:
                low = middle + 1
        return low

    def _text(self, ids: Sequence[int]) -> str:
        # A character that is cut in two decodes to a replacement character, of length one too.
        return self._tokenizer.decode(list(ids), skip_special_tokens=False)


def load_tokenizer(path: Path) -> "Tokenizer":
    """The tokeniser of a `tokenizer.json`. Raises ExtractionError."""
    try:
        from tokenizers import Tokenizer
    except ImportError:
        raise ExtractionError(
            "a tokenizer file needs the library `tokenizers`: pip install tokenizers"
        ) from None
    try:
        return Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises nothing more precise
        raise ExtractionError(f"{path}: no tokenizer.json: {error}") from None
