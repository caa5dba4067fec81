"""From a chunk of tokens to the text that a teacher is asked to continue.

Teachers have tokenisers and chat templates of their own, so they are asked about text: the messages
that the agent had sent, and the answer so far.
"""

import json
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from harness.records import find_runs
from trainers.data.errors import DataError
from trainers.data.runs import run_name
from trainers.data.trajectories import Trajectory, Turn
from trainers.omniopd.chunks import Chunk
from trainers.omniopd.texts import Message

_INCOMPLETE = "\ufffd"  # what a decoder makes of a character whose last bytes are in the next token


class ChunkText(NamedTuple):
    """messages: before the answer. before: the answer up to the chunk, or everything up to it,
    where there are no messages. text: the chunk's own."""

    messages: tuple[Message, ...]
    before: str
    text: str


class Prompts:
    """Texts of trajectories' chunks.

    tokenizer: the student's. runs: where the trajectories come from, which has their messages; none
    of them: `before` is all that the student saw, in its own chat template.
    """

    def __init__(self, tokenizer: Any, runs: Sequence[Path] = ()) -> None:
        self._tokenizer = tokenizer
        self._roots = {run_name(run): run.root for path in runs for run in find_runs(path)}
        self._messages = lru_cache(64)(_read_messages)

    def of(self, trajectory: Trajectory, chunk: Chunk) -> ChunkText:
        """The text of a chunk. A character that is cut by its edges belongs to where it begins.

        Raises DataError for messages that cannot be read.
        """
        turn, offset = _turn_of(trajectory, chunk)
        start = turn.start + chunk.start - offset
        end = turn.start + chunk.end - offset
        plain = not self._roots
        first = 0 if plain else turn.start
        if plain and len(trajectory.ids) and trajectory.ids[0] == self._tokenizer.bos_token_id:
            first = 1
        before = self._decode(trajectory, first, start, control=plain)
        whole = self._decode(trajectory, first, end, control=plain)
        messages = () if plain else self._messages(*self._place(trajectory), turn.number)
        return ChunkText(messages, before, whole[len(before) :])

    def _decode(self, trajectory: Trajectory, start: int, end: int, *, control: bool) -> str:
        text: str = self._tokenizer.decode(
            trajectory.ids[start:end].tolist(),
            skip_special_tokens=not control,
            clean_up_tokenization_spaces=False,
        )
        return text.rstrip(_INCOMPLETE)

    def _place(self, trajectory: Trajectory) -> tuple[Path]:
        attempt, _, _ = trajectory.name.rpartition("#")
        run, instance, seed = attempt.rsplit("/", 2)
        return (self._roots[run] / "attempts" / instance / seed / "calls.parquet",)


def _turn_of(trajectory: Trajectory, chunk: Chunk) -> tuple[Turn, int]:
    """The turn that a chunk is in, and how many tokens were sampled before it."""
    offset = 0
    for turn in trajectory.turns:
        size = turn.end - turn.start
        if chunk.start < offset + size:
            return turn, offset
        offset += size
    raise ValueError(f"trajectory {trajectory.name} has no sampled token {chunk.start}")


def _read_messages(path: Path, turn: int) -> tuple[Message, ...]:
    try:
        wanted = [("turn", "==", turn), ("status", "==", "answered")]
        rows = pq.read_table(path, columns=["request"], filters=wanted).to_pylist()
        return tuple(_messages(orjson.loads(rows[-1]["request"])))
    except (
        OSError,
        pa.ArrowException,
        LookupError,
        AttributeError,
        TypeError,
        ValueError,
    ) as wrong:
        raise DataError(
            f"{path}: turn {turn} has no readable request ({wrong}): a text teacher needs the "
            "messages of the rollouts; roll out again, or set prompt: text"
        ) from None


def _messages(request: dict[str, Any]) -> Iterator[Message]:
    """A chat request as text: tools and their calls are written out, results come from the user."""
    if tools := request.get("tools"):
        shown = "\n".join(json.dumps(tool, sort_keys=True) for tool in tools)
        yield Message(role="system", content=f"Tools:\n{shown}")
    for message in request["messages"]:
        content = message.get("content") or ""
        if not isinstance(content, str):
            content = "".join(part.get("text", "") for part in content)
        for call in message.get("tool_calls") or ():
            content += f"\n<tool_call>{json.dumps(call['function'], sort_keys=True)}</tool_call>"
        role = message["role"]
        if role == "tool":
            role, content = "user", f"Result:\n{content}"
        yield Message(role=role, content=content.lstrip("\n"))
