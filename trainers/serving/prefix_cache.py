"""Keys and values of prompts that were seen, for prompts that begin alike.

A prompt is computed in chunks that begin at multiples of `CHUNK`, with or without this cache, and
only whole chunks are kept. A reused chunk therefore holds the very bits that computing it again
would give: the cache changes the time, never the tokens.
"""

from collections import OrderedDict
from collections.abc import Sequence

from trainers.serving.attention import SequenceCache

CHUNK = 128


class PrefixCache:
    """The least recently used prompts go first once the kept ones exceed `max_bytes`."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._entries: OrderedDict[tuple[int, ...], SequenceCache] = OrderedDict()

    def start(self, prompt: Sequence[int], capacity: int) -> SequenceCache:
        """A cache for `prompt` that already holds the longest known beginning.

        At least the prompt's last token is left to compute, for its logits.
        """
        best, length = None, 0
        for tokens in self._entries:
            common = _common_chunks(tokens, prompt[:-1])
            if common > length:
                best, length = tokens, common
        if best is None:
            return SequenceCache(capacity)
        self._entries.move_to_end(best)
        return self._entries[best].prefix(length, capacity)

    def add(self, prompt: Sequence[int], cache: SequenceCache) -> None:
        """Keep the whole chunks of a prompt that `cache` holds."""
        tokens = tuple(prompt[: len(prompt) // CHUNK * CHUNK])
        if any(known[: len(tokens)] == tokens for known in self._entries) or not tokens:
            return
        for other in [known for known in self._entries if tokens[: len(known)] == known]:
            del self._entries[other]
        self._entries[tokens] = cache.prefix(len(tokens), len(tokens))
        while sum(entry.nbytes for entry in self._entries.values()) > self._max_bytes:
            self._entries.popitem(last=False)


def _common_chunks(known: Sequence[int], prompt: Sequence[int]) -> int:
    """Tokens in the whole chunks with which both begin."""
    length = 0
    while (
        length + CHUNK <= min(len(known), len(prompt))
        and tuple(prompt[length : length + CHUNK]) == known[length : length + CHUNK]
    ):
        length += CHUNK
    return length
