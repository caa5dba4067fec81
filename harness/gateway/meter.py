"""What an attempt has used of its budget."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from harness.gateway.failures import RefusedError
from harness.gateway.options import GatewayOptions
from harness.records import Budget, StopReason, Usage

AGENT = "agent"
_CAPS = {StopReason.TURN_CAP: "turn_cap", StopReason.TOKEN_CAP: "token_cap"}


class BudgetError(RefusedError):
    """A call over the budget."""

    def __init__(self, reason: StopReason, message: str) -> None:
        super().__init__(message, kind="budget_exhausted", code=_CAPS[reason])
        self.reason = reason


class Meter:
    """Counts turns, tokens and costs of one attempt, and admits calls within its budget.

    A call of another purpose than the agent's turns is not a turn; there may be as many of them
    as turns. Lives in one event loop.
    """

    def __init__(self, budget: Budget, options: GatewayOptions) -> None:
        self.turns = 0
        self.answered = 0
        self.tool_calls = 0
        self._budget = budget
        self._options = options
        self._prompt_tokens = 0
        self._cached_tokens = 0
        self._generated_tokens = 0
        self._turns_open = 0
        self._others_open = 0
        self._tokens_open = 0
        self._change = asyncio.Event()

    @property
    def usage(self) -> Usage:
        """What has been used so far."""
        return Usage(
            turns=self.turns,
            tool_calls=self.tool_calls,
            prompt_tokens=self._prompt_tokens,
            generated_tokens=self._generated_tokens,
            cost_usd=self._cost(),
        )

    @property
    def answer_number(self) -> int:
        """The number, from 1, of the answer that the call admitted last will get."""
        return self.answered + self._turns_open + self._others_open

    @asynccontextmanager
    async def admit(self, purpose: str, most_tokens: int) -> AsyncIterator[int]:
        """Reserve a call while the block runs; gives the tokens that it may generate.

        Waits while calls in progress hold the rest of the budget. Raises BudgetError.
        """
        agents = purpose == AGENT
        while (granted := self._grant(agents, most_tokens)) == 0:
            self._change.clear()
            await self._change.wait()
        self._turns_open += agents
        self._others_open += not agents
        self._tokens_open += granted
        try:
            yield granted
        finally:
            self._turns_open -= agents
            self._others_open -= not agents
            self._tokens_open -= granted
            self._change.set()

    def count_tokens(self, prompt: int, cached: int, generated: int) -> None:
        """Add the tokens of one call."""
        self._prompt_tokens += prompt
        self._cached_tokens += cached
        self._generated_tokens += generated

    def count_answer(self, purpose: str, tool_calls: int) -> int | None:
        """Add an answered call; gives the number of the turn, if it is one."""
        self.answered += 1
        if purpose != AGENT:
            return None
        self.turns += 1
        self.tool_calls += tool_calls
        return self.turns

    def _grant(self, agents: bool, most_tokens: int) -> int:
        used = self.turns if agents else self.answered - self.turns
        under_way = self._turns_open if agents else self._others_open
        if used >= self._budget.turns:
            what = "model calls" if agents else "model calls that are no turns"
            raise BudgetError(StopReason.TURN_CAP, f"{self._budget.turns} {what} used up")
        if used + under_way >= self._budget.turns:
            return 0
        if self._budget.tokens is None:
            return most_tokens
        left = self._budget.tokens - self._generated_tokens
        if left <= 0:
            message = f"{self._budget.tokens} generated tokens used up"
            raise BudgetError(StopReason.TOKEN_CAP, message)
        return max(min(most_tokens, left - self._tokens_open), 0)

    def _cost(self) -> float | None:
        options = self._options
        if options.prompt_usd_per_million is None:
            return None
        cached_price = options.cached_usd_per_million
        if cached_price is None:
            cached_price = options.prompt_usd_per_million
        return (
            (self._prompt_tokens - self._cached_tokens) * options.prompt_usd_per_million
            + self._cached_tokens * cached_price
            + self._generated_tokens * options.generated_usd_per_million
        ) / 1e6
