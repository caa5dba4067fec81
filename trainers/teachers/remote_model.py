"""A model in another process, as far as it has to be known here: its tokeniser and its sizes."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from transformers import AutoConfig, AutoTokenizer
from transformers.utils import cached_file

from trainers.engine.errors import MismatchError
from trainers.serving.shipped import file_sha256


@dataclass
class RemoteModel:
    """What `Described` asks for, of a model that is not loaded here.

    place: its endpoint. longest: tokens that it takes. embedded: rows of its embeddings.
    """

    name: str
    place: str
    sha256: str
    tokenizer: Any
    tokenizer_sha256: str
    embedded: int
    longest: int
    vocabulary: int = 0

    def __post_init__(self) -> None:
        self.vocabulary = self.vocabulary or self.embedded

    @cached_property
    def tokens(self) -> dict[int, str]:
        """The tokeniser's tokens by id."""
        return {number: token for token, number in self.tokenizer.get_vocab().items()}


def load_tokenizer(reference: str) -> tuple[Any, str, int]:
    """A tokeniser without its model, its file's SHA-256, and the rows of the model's embeddings.

    reference: a folder with `tokenizer.json` and `config.json`, or a hub id. Raises MismatchError
    when it cannot be had.
    """
    try:
        tokenizer = AutoTokenizer.from_pretrained(reference)
        digest = file_sha256(Path(cached_file(reference, "tokenizer.json")))
        embedded = int(AutoConfig.from_pretrained(reference).vocab_size)
    except Exception as error:  # a folder can be wrong in any way, and the hub unreachable
        raise MismatchError(
            f"teacher.tokenizer {reference!r}: no tokeniser and configuration there ({error}); "
            "give a folder with tokenizer.json and config.json, or a hub id"
        ) from None
    return tokenizer, digest, embedded
