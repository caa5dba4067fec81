"""The output of a command, kept in bounded memory."""

_MARK = 64  # bytes reserved for the note on what was cut


class HeadTail:
    """Keeps a stream whole up to `limit` bytes, and of a longer one the head and the tail."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._half = limit // 2
        self._head = bytearray()
        self._tail = bytearray()
        self.total = 0

    @property
    def truncated(self) -> bool:
        """Whether `value` lacks a part of the stream."""
        return self.total > self._limit

    def add(self, chunk: bytes) -> None:
        """Take the next bytes of the stream."""
        self.total += len(chunk)
        if room := self._half - len(self._head):
            self._head += chunk[:room]
            chunk = chunk[room:]
        keep = self._limit - self._half
        self._tail += chunk[-keep:]
        if len(self._tail) > 2 * keep:
            del self._tail[:-keep]

    def value(self) -> bytes:
        """At most `limit` bytes, with the number of bytes cut in between."""
        if not self.truncated:
            return bytes(self._head + self._tail)
        kept = self._limit - _MARK
        mark = f"\n[... {self.total - kept:,} bytes cut ...]\n".encode()
        return bytes(self._head) + mark + bytes(self._tail[len(self._head) - kept :])
