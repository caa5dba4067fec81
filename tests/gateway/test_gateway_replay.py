"""Answers from a record, and then from the endpoint."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from harness.gateway import (
    CallRow,
    Gateway,
    Recording,
    RecordingError,
    read_calls,
    read_recording,
)
from harness.gateway.replay import difference
from harness.records import Budget, StopReason
from tests.gateway.clients import HELLO, QUICK, Attempt, attempt, streamed_text
from tests.gateway.scripted import Json, Scripted, Step, call_tools, fail, hang, say

SECOND = [*HELLO, {"role": "assistant", "content": "one"}, {"role": "user", "content": "and?"}]
THIRD = [*SECOND, {"role": "tool", "content": "seen"}]
CARD = {"id": "recorded", "max_model_len": 99}
EXACT = ("turn", "finish_reason", "prompt_ids", "sampled_ids", "logprobs", "ids_from", "response")


@pytest.fixture
def recorded(tmp_path: Path) -> Path:
    """The record of three calls: whole, with tools, streamed."""
    (tmp_path / "source").mkdir()
    with attempt(tmp_path / "source", say("one"), call_tools(("f", "{}")), say("three")) as made:
        converse(made)
        made.end()
    return tmp_path / "source" / "calls.parquet"


def converse(made: Attempt) -> list[Any]:
    """Three calls, and what was answered."""
    first, second = made.ask(HELLO).json(), made.ask(SECOND, tools=[]).json()
    third = streamed_text(made.ask(THIRD, stream=True))
    message = second["choices"][0]["message"]
    return [first["choices"][0]["message"]["content"], message["tool_calls"][0]["id"], third]


def read(path: Path, **more: Any) -> Recording:
    """A recording, exact if nothing else is said."""
    options: Json = {"seed": 7, "step": None, "forced": False, "ids": True, "card": CARD}
    return read_recording(path, **(options | more))


@contextmanager
def replaying(
    folder: Path, recording: Recording, *steps: Step, seed: int = 7, **upstream: Any
) -> Iterator[Attempt]:
    """A door that answers from a recording, before a scripted endpoint."""
    calls = folder / "again.parquet"
    with (
        Scripted(*steps, **upstream).serve() as scripted,
        Gateway(scripted.endpoint, QUICK) as gateway,
        gateway.open(budget=Budget(), seed=seed, calls=calls, recording=recording) as door,
    ):
        yield Attempt(door, calls, scripted)


def facts(rows: Sequence[CallRow]) -> list[list[Any]]:
    """What must be the same of each row."""
    return [[getattr(row, name) for name in EXACT] for row in rows]


@pytest.mark.parametrize("seed", [7, 8])
def test_a_whole_recording_is_given_token_by_token(
    tmp_path: Path, recorded: Path, seed: int
) -> None:
    with replaying(tmp_path, read(recorded), fail(500), seed=seed) as made:
        assert converse(made) == ["one", "call-0", "three"]
        card = made.http.get("models").json()["data"]
        report, rows = made.end()
    assert card == [CARD]
    assert not made.upstream.requests
    assert report.ended is None
    before = list(read_calls(recorded))
    assert [row[:-1] for row in facts(rows)] == [row[:-1] for row in facts(before)]
    assert [row.request for row in rows] != [row.request for row in before] or seed == 7


def test_the_endpoint_goes_on_from_the_step(tmp_path: Path, recorded: Path) -> None:
    with replaying(tmp_path, read(recorded, step=2), call_tools(("g", "{}")), say("new")) as made:
        assert converse(made) == ["one", "call-0", "new"]
        assert made.http.get("models").json()["data"][0]["id"] == "scripted"
        _, rows = made.end()
    assert [request["messages"] for request in made.upstream.requests] == [SECOND, THIRD]
    assert facts(rows)[0] == facts(list(read_calls(recorded)))[0]
    assert b'"g"' in rows[1].response


def test_another_request_ends_the_attempt_and_says_where(tmp_path: Path, recorded: Path) -> None:
    with replaying(tmp_path, read(recorded), fail(500)) as made:
        made.ask(HELLO)
        answer = made.ask([*SECOND[:-1], {"role": "user", "content": "and!"}], tools=[])
        report, rows = made.end()
    assert answer.status_code == 502
    assert report.ended is StopReason.INFRASTRUCTURE
    said = "at turn 2: messages[2].content, character 3: was 'and?', is 'and!'"
    assert report.detail.endswith(said)
    assert [row.status for row in rows] == ["answered", "failed"]


def test_forced_answers_claim_no_ids_for_another_prompt(tmp_path: Path, recorded: Path) -> None:
    with replaying(tmp_path, read(recorded, forced=True), tokenize=True) as made:
        answer = made.ask([{"role": "user", "content": "bye"}])
        made.ask(SECOND, tools=[])
        _, rows = made.end()
    assert answer.json()["choices"][0]["message"]["content"] == "one"
    assert {row.call: row.ids_from for row in rows} == {1: "retokenised", 2: "endpoint"}


def test_ids_of_another_model_are_not_given(tmp_path: Path, recorded: Path) -> None:
    with replaying(tmp_path, read(recorded, ids=False), tokenize=True) as made:
        made.ask(HELLO)
        _, rows = made.end()
    assert rows[0].ids_from == "retokenised"


def test_more_than_was_recorded_is_a_divergence(tmp_path: Path, recorded: Path) -> None:
    with replaying(tmp_path, read(recorded), say("no")) as made:
        converse(made)
        assert made.ask(THIRD).status_code == 502
        report, _ = made.end()
    assert "call 4 is asked for, and it ends after 3" in report.detail


def test_an_unanswered_call_is_refused_but_for_earlier_steps(tmp_path: Path) -> None:
    with attempt(tmp_path, say("one"), hang()) as made:
        made.ask()
        with pytest.raises(Exception, match="timed out"):
            made.ask_within(0.2)
        made.end()
    path = tmp_path / "calls.parquet"
    with pytest.raises(RecordingError, match=r"call 2 was cancelled .* --step of at most 1"):
        read(path)
    assert read(path, step=1).rows == ()


def test_calls_over_the_budget_are_no_part_of_it(tmp_path: Path) -> None:
    with attempt(tmp_path, say("one"), budget=Budget(turns=1)) as made:
        made.ask()
        assert made.ask().status_code == 400
        made.end()
    assert len(read(tmp_path / "calls.parquet").rows) == 1
    with pytest.raises(RecordingError, match="one by one with seed 3"):
        read(tmp_path / "calls.parquet", seed=3)
    (tmp_path / "calls.parquet").write_bytes(b"PAR1")
    with pytest.raises(RecordingError, match="no record of calls"):
        read(tmp_path / "calls.parquet")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (b'{"messages": [], "seed": 1}', b'{"messages": [], "seed": 2}', None),
        (b'{"messages": [1]}', b'{"messages": [1, 2]}', "messages had 1 entries, has 2"),
        (b'{"tools": [{"a": 1}]}', b'{"tools": [{"a": 2}]}', "tools[0].a: was '1', is '2'"),
        (b'{"stop": "x"}', b"{}", "stop: was 'x', is 'None'"),
    ],
)
def test_the_first_difference_is_named(old: bytes, new: bytes, said: str | None) -> None:
    assert difference(old, new) == said
