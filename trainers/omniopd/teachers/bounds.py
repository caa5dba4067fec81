"""How many tokens texts have for a teacher, at most, or by its tokeniser."""

import threading
from typing import Any

from trainers.omniopd.texts import Ask

_PER_REQUEST, _PER_MESSAGE = 128, 16  # what chat templates and instructions add


class TokenBound:
    """Counts tokens for budgets. tokenizer: the teacher's; none: a byte is a token, which no text
    exceeds with the usual tokenisers."""

    def __init__(self, tokenizer: Any = None) -> None:
        self._tokenizer = tokenizer
        self._lock = threading.Lock()

    @property
    def exact(self) -> bool:
        """Whether it has a tokeniser."""
        return self._tokenizer is not None

    def text(self, text: str) -> int:
        """Of a text."""
        if self._tokenizer is None:
            return len(text.encode(errors="replace"))
        with self._lock:
            return len(self._tokenizer(text, add_special_tokens=False)["input_ids"])

    def prompt(self, ask: Ask) -> int:
        """Of a request, with what a chat template may add."""
        texts = [ask.text, *(message.content for message in ask.messages)]
        frames = _PER_REQUEST + _PER_MESSAGE * (len(ask.messages) + 2)
        return frames + sum(map(self.text, texts))
