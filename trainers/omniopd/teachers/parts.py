"""A text teacher's work in parts, which are asked for, paid and kept one by one."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple, Protocol

import orjson

from trainers.engine.errors import TeacherError
from trainers.omniopd.texts import Answer, Ask


@dataclass(frozen=True)
class Part:
    """`count` of the continuations of a text: the part `number` of an ask."""

    ask: Ask
    count: int
    seed: int
    number: int = 0

    @property
    def sha256(self) -> str:
        """Digest of all that it is."""
        ask = self.ask
        messages = [[one.role, one.content] for one in ask.messages]
        what = [messages, ask.text, ask.characters, ask.tokens, self.count, self.seed, self.number]
        return hashlib.sha256(orjson.dumps(what)).hexdigest()

    @property
    def sampling_seed(self) -> int:
        """31 bits for a sampler, of all that the part is."""
        return int(self.sha256[:8], 16) >> 1


class Tokens(NamedTuple):
    """Of prompts, of which so many were cached, and generated ones."""

    prompt: int
    generated: int
    cached: int = 0


class PartTeacher(Protocol):
    """What answers parts, from `concurrency` threads at once.

    together: the most continuations in one part.
    """

    @property
    def identity(self) -> dict[str, str]:
        """See `TextTeacher`."""
        ...

    @property
    def concurrency(self) -> int:
        """Parts side by side."""
        ...

    @property
    def together(self) -> int:
        """Continuations in a part."""
        ...

    def check(self, asks: Sequence[Ask]) -> None:
        """See `TextTeacher`."""
        ...

    def most(self, part: Part) -> Tokens:
        """What a part can cost at most."""
        ...

    def answer(self, part: Part) -> Answer:
        """The continuations of a part. Raises TeacherError."""
        ...


def answers(
    teacher: PartTeacher,
    asks: Sequence[Ask],
    count: int,
    seed: int,
    answer: Callable[[Part], Answer],
) -> Iterator[tuple[int, Answer]]:
    """The number of each ask and its answer, once `answer` has given all of its parts.

    What was begun when a part fails is finished before its error is raised.
    """
    together = teacher.together
    todo = (
        (number, part)
        for number, ask in enumerate(asks)
        for part in parts(ask, count, seed, together)
    )
    found: dict[int, dict[int, Answer]] = {}
    for number, part, one in _side_by_side(todo, answer, teacher.concurrency):
        mine = found.setdefault(number, {})
        mine[part.number] = one
        if sum(len(each.texts) for each in mine.values()) == count:
            yield number, _joined([mine[each] for each in sorted(mine)])
            del found[number]


def parts(ask: Ask, count: int, seed: int, together: int) -> Iterator[Part]:
    """`count` continuations of a text, at most `together` in a part."""
    for number, first in enumerate(range(0, count, together)):
        yield Part(ask, min(together, count - first), seed, number)


def check_form(asks: Iterable[Ask], prompt: str) -> None:
    """Raise TeacherError for messages where a text is to be continued, and the reverse."""
    for ask in asks:
        if prompt == "chat" and not ask.messages:
            raise TeacherError(
                f"no messages before the text {shown(ask.text)}: give data.student_runs with the "
                "agent's calls, or set text_teacher.prompt: text"
            )
        if prompt == "text" and (ask.messages or not ask.text):
            raise TeacherError(
                f"text_teacher.prompt is text: {len(ask.messages)} messages before the text "
                f"{shown(ask.text)} cannot be given; set text_teacher.prompt: chat"
            )


def shown(text: str) -> str:
    """The beginning of a text, for an error."""
    return repr(text[:60] + "…") if len(text) > 60 else repr(text)


def _joined(found: Sequence[Answer]) -> Answer:
    if len(found) == 1:
        return found[0]
    return Answer(
        texts=tuple(text for one in found for text in one.texts),
        prompt_tokens=sum(one.prompt_tokens for one in found),
        generated_tokens=sum(one.generated_tokens for one in found),
        cached_tokens=sum(one.cached_tokens for one in found),
        requests=sum(one.requests for one in found),
        seconds=sum(one.seconds for one in found),
        replayed=all(one.replayed for one in found),
    )


def _side_by_side(
    todo: Iterator[tuple[int, Part]], answer: Callable[[Part], Answer], concurrency: int
) -> Iterator[tuple[int, Part, Answer]]:
    if concurrency == 1:
        for number, part in todo:
            yield number, part, answer(part)
        return
    with ThreadPoolExecutor(concurrency, thread_name_prefix="text-teacher") as pool:
        running: dict[Future[Answer], tuple[int, Part]] = {}

        def submit(most: int) -> None:
            for number, part in islice(todo, most):
                running[pool.submit(answer, part)] = number, part

        submit(2 * concurrency)
        try:
            while running:
                done, _ = wait(running, return_when=FIRST_COMPLETED)
                submit(len(done))
                for future in done:
                    yield (*running.pop(future), future.result())
        finally:
            for future in running:
                future.cancel()
