"""The texts that teachers are asked to continue."""

from pathlib import Path
from typing import Any

import orjson
import pytest

from harness.records import RunFolder
from tests.trainers.data.runs_on_disk import call, write_attempt
from tests.trainers.omniopd.material import trajectory
from tests.trainers.tiny import byte_tokenizer
from trainers.data.errors import DataError
from trainers.data.runs import read_runs
from trainers.data.trajectories import Trajectory
from trainers.omniopd.chunks import Chunk
from trainers.omniopd.prompts import Prompts
from trainers.omniopd.texts import Message

TOKENIZER = byte_tokenizer()
BEGIN, END = 256, 257


def ids(text: str) -> list[int]:
    """One for each byte."""
    found: list[int] = TOKENIZER(text, add_special_tokens=False)["input_ids"]
    return found


def test_a_bare_text_is_all_that_the_student_saw() -> None:
    one = trajectory([ids("first"), ids("second")], prompt=ids("<s>Q:"))
    found = Prompts(TOKENIZER).of(one, Chunk(8, 10))
    assert found == ((), "Q:first<s>Q:sec", "on")


@pytest.mark.parametrize(
    ("chunk", "before", "text"),
    [((0, 3), "", "né"), ((0, 2), "", "n"), ((2, 4), "n", "é!"), ((3, 4), "né", "!")],
)
def test_a_character_that_is_cut_belongs_to_where_it_begins(
    chunk: tuple[int, int], before: str, text: str
) -> None:
    one = trajectory([ids("né!")], prompt=())
    found = Prompts(TOKENIZER).of(one, Chunk(*chunk))
    assert (found.before, found.text) == (before, text)


def asked(folder: Path, request: Any, answer: str = "an answer") -> tuple[Trajectory, Path]:
    """A run of one call with that request, as it is read for training."""
    run = RunFolder(folder / "rollouts")
    run.root.mkdir()
    run.config.write_text("schema_version: 1\nid: rollouts\n")
    text = orjson.dumps(request).decode()
    sampled = [*ids(answer), END]
    row = call(1, [BEGIN, *ids("anything")], sampled, request=text)
    write_attempt(run, "owner__repo-1", 0, [row], None)
    (one,) = read_runs([run.root], "student", max_tokens=500).trajectories
    return one, run.root


def test_a_conversation_is_its_messages_and_the_answer_so_far(tmp_path: Path) -> None:
    user = {"role": "user", "content": [{"type": "text", "text": "What "}, {"text": "now?"}]}
    called = {"function": {"name": "bash", "arguments": '{"c": "ls"}'}}
    request = {
        "tools": [{"function": {"name": "bash"}}],
        "messages": [
            user,
            {"role": "assistant", "content": None, "tool_calls": [called]},
            {"role": "tool", "content": "a.py"},
        ],
    }
    one, root = asked(tmp_path, request)
    found = Prompts(TOKENIZER, [root]).of(one, Chunk(3, 6))
    assert (found.before, found.text) == ("an ", "ans")
    assert found.messages == (
        Message(role="system", content='Tools:\n{"function": {"name": "bash"}}'),
        Message(role="user", content="What now?"),
        Message(
            role="assistant",
            content='<tool_call>{"arguments": "{\\"c\\": \\"ls\\"}", "name": "bash"}</tool_call>',
        ),
        Message(role="user", content="Result:\na.py"),
    )


@pytest.mark.parametrize("request_", [None, {}, {"messages": [1]}, {"messages": [{"role": 1}]}])
def test_messages_that_cannot_be_read_are_refused(tmp_path: Path, request_: Any) -> None:
    one, root = asked(tmp_path, request_)
    with pytest.raises(DataError, match=r"calls.parquet: turn 1 has no readable request"):
        Prompts(TOKENIZER, [root]).of(one, Chunk(0, 2))
