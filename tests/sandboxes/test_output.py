"""Output in bounded memory."""

from hypothesis import given
from hypothesis import strategies as st

from harness.sandboxes.output import HeadTail

_MARK = b" bytes cut ...]\n"


@given(st.lists(st.binary(max_size=3000), max_size=20), st.integers(1024, 5000))
def test_whole_up_to_the_limit_else_head_and_tail(chunks: list[bytes], limit: int) -> None:
    kept, stream = HeadTail(limit), b"".join(chunks)
    for chunk in chunks:
        kept.add(chunk)
    value = kept.value()
    assert kept.total == len(stream)
    assert kept.truncated is (len(stream) > limit)
    assert len(value) <= limit
    if not kept.truncated:
        assert value == stream
    else:
        head = stream[: limit // 2]
        assert value.startswith(head + b"\n[... ")
        note, _, tail = value[len(head) :].partition(_MARK)
        assert stream.endswith(tail)
        cut = int(note.removeprefix(b"\n[... ").replace(b",", b""))
        assert len(head) + cut + len(tail) == len(stream)


def test_memory_does_not_grow_with_the_number_of_chunks() -> None:
    kept = HeadTail(1024)
    for _ in range(100_000):
        kept.add(b"x")
    assert len(kept._tail) <= 1024
