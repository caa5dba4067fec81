"""Token counters: a model's own tokenizer, or an estimate that needs no model."""

import hashlib
import re
from pathlib import Path
from typing import TYPE_CHECKING

from pi_extractors.base import ExtractionError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_PIECES = re.compile(
    r"(?P<word>[A-Z]?[a-z]+|[A-Z]+(?![a-z]))|(?P<digit>[0-9])|(?P<space>\s+)"
    r"|(?P<sign>[!-/:-@\[-`{-~]+)|(?P<other>.)",
    re.DOTALL,
)


class Estimate:
    """Counts tokens of code, diffs and English as a byte-pair tokenizer of 50,000 entries would.

    Hundredths of a token for each part of a word, digit, run of white space or of punctuation,
    fitted by least squares; `docs/pi.md` has its error on text of each kind.
    """

    name = "estimate/1"

    def count(self, text: str) -> int:
        """The number of tokens, rounded up."""
        return -(-sum(_cost(match) for match in _PIECES.finditer(text)) // 100)


def _cost(piece: re.Match[str]) -> int:
    kind, text = piece.lastgroup, piece[0]
    match kind:
        case "word":
            return 103 + 16 * max(0, len(text) - 6)
        case "digit":
            return 120
        case "space":
            return 105 if "\n" in text else 80 * (len(text) > 1)
        case "sign":
            return 103 + 17 * (len(text) - 1)
        case _:
            return 60 * len(text.encode("utf-8", "surrogatepass"))


class TokenizerFile:
    """Counts as a `tokenizer.json` does, without special tokens; its name is the file's digest.

    Raises ExtractionError when the file is none, or the `tokenizers` library is not installed.
    """

    def __init__(self, path: Path) -> None:
        self._tokenizer = _load(path)
        self.name = f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"

    def count(self, text: str) -> int:
        """The number of tokens."""
        return len(self._tokenizer.encode(text, add_special_tokens=False).ids)


def _load(path: Path) -> "Tokenizer":
    try:
        from tokenizers import Tokenizer
    except ImportError:
        raise ExtractionError(
            "a tokenizer file needs the library `tokenizers`: pip install tokenizers"
        ) from None
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises nothing more precise
        raise ExtractionError(f"{path}: no tokenizer.json: {error}") from None
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer
