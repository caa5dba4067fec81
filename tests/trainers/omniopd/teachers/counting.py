"""A text teacher in memory, and one that keeps its answers."""

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.trainers.omniopd.teachers.scripted import ask
from trainers.engine.errors import TeacherError
from trainers.omniopd.settings import Budget, Prices
from trainers.omniopd.teachers.kept import KeptTeacher
from trainers.omniopd.teachers.parts import Part, Tokens
from trainers.omniopd.texts import Answer, Ask

PROMPT, GENERATED = 10, 4  # tokens of a request, and of a continuation; either may be twice as much
PRICES = Prices(prompt_usd=1.0, generated_usd=10.0, cached_usd=0.5)
ASKS = [ask(f"text {number}") for number in range(8)]


class Counting:
    """A teacher in memory that counts what it is asked."""

    def __init__(self, concurrency: int = 1, together: int = 10, temperature: str = "1.0") -> None:
        self.concurrency = concurrency
        self.together = together
        self.identity = {"kind": "counting", "temperature": temperature}
        self.asked: list[Part] = []
        self.wait: threading.Event | None = None
        self.fails: str | None = None

    def check(self, asks: Sequence[Ask]) -> None:
        """Anything goes."""

    def most(self, part: Part) -> Tokens:
        """Twice what it will be."""
        return Tokens(2 * PROMPT, 2 * GENERATED * part.count)

    def answer(self, part: Part) -> Answer:
        """The text and a number for each."""
        self.asked.append(part)
        if self.wait is not None:
            self.wait.wait(10)
        if part.ask.text == self.fails:
            raise TeacherError("it fell over")
        return Answer(
            texts=tuple(f"{part.ask.text}/{part.number}/{n}" for n in range(part.count)),
            prompt_tokens=PROMPT,
            generated_tokens=GENERATED * part.count,
            cached_tokens=2,
            seconds=0.5,
        )


def kept(inner: Any, folder: Path, **limits: Any) -> KeptTeacher:
    """With limits of a budget, and prices."""
    prices = limits.pop("prices", None)
    return KeptTeacher(inner, folder, Budget(**limits), prices)


def all_of(teacher: KeptTeacher, asks: Sequence[Ask] = ASKS, count: int = 2) -> list[Answer]:
    """The answers in the order of the asks."""
    found = dict(teacher.continuations(asks, count, 0))
    return [found[number] for number in range(len(asks))]
