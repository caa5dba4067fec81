"""Streams taken apart and put together, however they are cut."""

import asyncio
import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.gateway.failures import PassingError
from harness.gateway.stream import AnswerStream, Assembler, EventSplitter

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
JSON_TEXT = st.lists(TEXT.map(json.dumps), max_size=8)


def _cut(data: bytes, at: list[int]) -> list[bytes]:
    edges = sorted({0, len(data), *(n % (len(data) + 1) for n in at)})
    return [data[a:b] for a, b in pairwise(edges)]


@given(JSON_TEXT, st.sampled_from(["\n", "\r\n"]), st.lists(st.integers(0), max_size=10))
def test_events_do_not_depend_on_packets(data: list[str], end: str, at: list[int]) -> None:
    sent = "".join(f": ping{end}event: x{end}data: {part}{end}{end}" for part in data).encode()
    splitter = EventSplitter()
    got = [event for chunk in _cut(sent, at) for event in splitter.feed(chunk)]
    assert got == [part.encode() for part in data]


def test_data_of_several_lines_is_joined() -> None:
    assert EventSplitter().feed(b'data: {"a":\ndata:1}\n\n') == [b'{"a":\n1}']


class _Packets:
    def __init__(self, packets: list[bytes]) -> None:
        self._packets = packets

    async def read(self) -> bytes:
        return self._packets.pop(0) if self._packets else b""

    def close(self) -> None:
        pass


def _piece(delta: object, finish: str | None = None, **choice: object) -> bytes:
    listed = [{"index": 0, "delta": delta, "finish_reason": finish} | choice]
    return b"data: " + json.dumps({"id": "a", "choices": listed}).encode() + b"\n\n"


def _run(packets: list[bytes], most: int = 9) -> tuple[bytes, Assembler]:
    assembler = Assembler(most, wants_usage=False)

    async def run() -> bytes:
        stream = AnswerStream(_Packets(packets), assembler)
        out = part = await stream.begin()
        while part:
            part = await stream.next()
            out += part
        return out

    return asyncio.run(run()), assembler


@given(st.lists(TEXT, min_size=1, max_size=8), st.lists(st.integers(0), max_size=10))
def test_what_the_agent_gets_is_what_is_recorded(texts: list[str], at: list[int]) -> None:
    pieces = [_piece({"content": text}, token_ids=[n]) for n, text in enumerate(texts)]
    sent = b"".join([*pieces, _piece({}, "stop"), b"data: [DONE]\n\n"])
    out, assembler = _run(_cut(sent, at))
    events = EventSplitter().feed(out)
    assert events[-1] == b"[DONE]"
    shown = [json.loads(event)["choices"][0] for event in events[:-1]]
    assert [choice["delta"].get("content") for choice in shown] == [*texts, None]
    assert not [choice for choice in shown if "token_ids" in choice]
    assert assembler.whole()["choices"][0]["message"]["content"] == "".join(texts)
    assert list(assembler.tokens.sampled) == list(range(len(texts)))


@given(
    st.lists(st.tuples(st.integers(0, 4), TEXT), max_size=20),
    st.integers(1, 5),
)
def test_tool_calls_are_joined_by_index_and_capped(
    pieces: list[tuple[int, str]], most: int
) -> None:
    sent = [
        _piece({"tool_calls": [{"index": index, "function": {"arguments": text}}]})
        for index, text in pieces
    ]
    out, assembler = _run([*sent, _piece({}, "tool_calls"), b"data: [DONE]\n\n"], most)
    order = list(dict.fromkeys(index for index, _ in pieces))
    joined = {i: "".join(text for index, text in pieces if index == i) for i in order}
    whole = assembler.whole()["choices"][0]["message"].get("tool_calls", [])
    assert [call["function"]["arguments"] for call in whole] == [
        joined[index] for index in sorted(joined)
    ]
    seen: dict[int, str] = {}
    for event in EventSplitter().feed(out)[:-1]:
        for call in json.loads(event)["choices"][0]["delta"].get("tool_calls", []):
            seen[call["index"]] = seen.get(call["index"], "") + call["function"]["arguments"]
    assert seen == {index: joined[index] for index in order[:most]}


def test_an_end_without_done_is_an_end_when_the_answer_is_over() -> None:
    out, _ = _run([_piece({"content": "x"}), _piece({}, "stop")])
    assert out.endswith(b"data: [DONE]\n\n")
    with pytest.raises(PassingError, match="ended before"):
        _run([_piece({"content": "x"})])


def test_reasoning_is_recorded() -> None:
    _, assembler = _run(
        [_piece({"reasoning_content": "a"}), _piece({"reasoning_content": "b"}, "stop")]
    )
    assert assembler.whole()["choices"][0]["message"]["reasoning_content"] == "ab"


@given(st.binary(max_size=60))
def test_anything_else_is_an_error_and_no_crash(data: bytes) -> None:
    with pytest.raises(PassingError):
        _run([b"data: " + data.replace(b"\n", b"") + b"\n\n"])
