"""What may be spent on a text teacher."""

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from trainers.engine.errors import TeacherError
from trainers.omniopd.settings import Budget, Prices
from trainers.omniopd.teachers.base import most_tokens
from trainers.omniopd.texts import Answer, Ask

_FIRST_GUESS = 0.5  # tokens of a prompt's character, until answers say what it is


class Purse:
    """Stops before a request that could cost more than is left. For any number of threads.

    before: answers that were paid for earlier; they count. A request is held to cost as much as
    its continuations can be long, and a prompt as dear as the dearest so far.
    """

    def __init__(
        self,
        budget: Budget,
        prices: Prices | None,
        length_factor: float = 1.0,
        before: Iterable[Answer] = (),
    ) -> None:
        self._budget = budget
        self._prices = prices
        self._factor = length_factor
        self._guard = threading.Lock()
        self._rate = _FIRST_GUESS
        self._held = [0.0, 0.0]
        self._spent = [0.0, 0.0]
        for answer in before:
            self._add(self._spent, self._cost(answer))

    @property
    def spent(self) -> tuple[float, float]:
        """Tokens and dollars."""
        return self._spent[0], self._spent[1]

    @contextmanager
    def paying(self, ask: Ask, count: int) -> Iterator[Callable[[Answer], None]]:
        """Hold what a request may cost, until it is paid or has failed.

        Raises TeacherError where that is more than is left.
        """
        characters = len(ask.text) + sum(len(message.content) for message in ask.messages)
        with self._guard:
            prompt = self._rate * characters
            generated = count * most_tokens(ask, self._factor)
            worst = (prompt + generated, self._usd(prompt, generated, 0))
            self._require(worst)
            self._add(self._held, worst)

        def pay(answer: Answer) -> None:
            with self._guard:
                self._add(self._spent, self._cost(answer))
                if characters and answer.requests == 1:
                    self._rate = max(self._rate, answer.prompt_tokens / characters)

        try:
            yield pay
        finally:
            with self._guard:
                self._add(self._held, (-worst[0], -worst[1]))

    def _require(self, wanted: tuple[float, float]) -> None:
        limits = (self._budget.tokens, self._budget.usd)
        for spent, held, more, limit, unit in zip(
            self._spent, self._held, wanted, limits, ("tokens", "usd"), strict=True
        ):
            if limit is not None and spent + held + more > limit:
                raise TeacherError(
                    f"text_teacher.budget.{unit}: {spent:,.6g} of {limit:,} are spent, {held:,.6g} "
                    f"more are asked for, and the next request may cost {more:,.6g}: raise it, and "
                    "the same command goes on with what is missing"
                )

    def _cost(self, answer: Answer) -> tuple[float, float]:
        prompt, generated = answer.prompt_tokens, answer.generated_tokens
        return prompt + generated, self._usd(prompt, generated, answer.cached_tokens)

    def _usd(self, prompt: float, generated: float, cached: float) -> float:
        prices = self._prices
        if prices is None:
            return 0.0
        dear = prices.prompt_usd
        cheap = dear if prices.cached_usd is None else prices.cached_usd
        total = (prompt - cached) * dear + cached * cheap + generated * prices.generated_usd
        return total / 1e6

    @staticmethod
    def _add(to: list[float], more: tuple[float, float]) -> None:
        to[0] += more[0]
        to[1] += more[1]
