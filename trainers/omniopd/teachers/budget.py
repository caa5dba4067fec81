"""What the answers in a cache folder cost, and how far they may."""

import fcntl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from pydantic import ValidationError

from harness.records.base import Record
from trainers.engine.errors import BusyError, ConfigError, TeacherError
from trainers.omniopd.settings import Budget, Prices
from trainers.omniopd.teachers.parts import Tokens

_MILLION = 1_000_000


class Paid(Record):
    """A line of `ledger.jsonl`. key: of the answer; `probe` for questions about the endpoint."""

    key: str
    prompt_tokens: int
    generated_tokens: int
    cached_tokens: int = 0
    requests: int = 1
    seconds: float = 0.0

    @property
    def tokens(self) -> Tokens:
        """Of prompts and answers."""
        return Tokens(self.prompt_tokens, self.generated_tokens, self.cached_tokens)


class Ledger:
    """`ledger.jsonl` of a folder: a line for everything that was paid, written at once."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "ledger.jsonl"
        self._lock = threading.Lock()

    def read(self) -> Iterator[Paid]:
        """All of it; a line that a killed process left unfinished is passed over."""
        try:
            with self.path.open("rb") as lines:
                for line in lines:
                    try:
                        yield Paid.model_validate_json(line)
                    except ValidationError:
                        continue
        except FileNotFoundError:
            return

    def add(self, paid: Paid) -> None:
        """One line more. Raises TeacherError where the folder cannot be written."""
        line = paid.model_dump_json().encode()
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self._lock, self.path.open("ab", buffering=0) as file:
                file.write(b"\n" + line + b"\n")  # behind whatever a killed process left
        except OSError as error:
            raise TeacherError(f"{self.path}: what was paid cannot be written: {error}") from None


def price(tokens: Tokens, prices: Prices | None) -> float:
    """US dollars; 0 without prices."""
    if prices is None:
        return 0.0
    cached = prices.prompt_usd if prices.cached_usd is None else prices.cached_usd
    full = tokens.prompt - tokens.cached
    usd = full * prices.prompt_usd + tokens.cached * cached
    return (usd + tokens.generated * prices.generated_usd) / _MILLION


class Purse:
    """Lets no request begin that could exceed a budget, whoever in this process asks.

    The budget is of everything that the folder's ledger has, at today's prices, so that a training
    that goes on cannot spend it twice. One process at a time pays into a folder with a budget.
    Raises ConfigError for dollars without prices.
    """

    def __init__(self, ledger: Ledger, budget: Budget, prices: Prices | None) -> None:
        if budget.usd is not None and prices is None:
            raise ConfigError(
                "text_teacher.budget.usd: add text_teacher.prices (prompt_usd and generated_usd, "
                "of a million tokens)"
            )
        self._ledger, self._budget, self._prices = ledger, budget, prices
        self._changed = threading.Condition()
        self._tokens, self._usd = 0, 0.0
        self._reserved: list[Tokens] = []

    @contextmanager
    def open(self) -> Iterator[None]:
        """To pay out of. Raises BusyError while another process does."""
        with self._alone():
            paid = [one.tokens for one in self._ledger.read()] if self._limited else []
            self._tokens = sum(one.prompt + one.generated for one in paid)
            self._usd = sum(price(one, self._prices) for one in paid)
            yield

    @contextmanager
    def paying(self, most: Tokens) -> Iterator[Callable[[Paid], None]]:
        """Reserve what a request may cost; inside, say what it did.

        Waits for other requests' true costs. Raises TeacherError where it could be too much.
        """
        self._reserve(most)
        try:
            yield self._settle
        finally:
            with self._changed:
                self._reserved.remove(most)
                self._changed.notify_all()

    @property
    def _limited(self) -> bool:
        return self._budget.tokens is not None or self._budget.usd is not None

    @contextmanager
    def _alone(self) -> Iterator[None]:
        if not self._limited:
            yield
            return
        folder = self._ledger.path.parent
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / ".paying").open("ab") as handle:
            _lock(handle, folder)
            yield

    def _reserve(self, most: Tokens) -> None:
        with self._changed:
            while (problem := self._problem(most)) is not None:
                if not self._reserved:
                    raise TeacherError(problem)
                self._changed.wait()
            self._reserved.append(most)

    def _problem(self, most: Tokens) -> str | None:
        waiting = [*self._reserved, most]
        tokens = sum(one.prompt + one.generated for one in waiting)
        usd = sum(price(one, self._prices) for one in waiting)
        again = "and the same command goes on; what is kept is not paid again"
        if self._budget.tokens is not None and self._tokens + tokens > self._budget.tokens:
            return (
                f"the text teacher's budget: {self._tokens:,} of {self._budget.tokens:,} tokens "
                f"are spent ({self._ledger.path}), and the next request may take {tokens:,}; raise "
                f"text_teacher.budget.tokens {again}"
            )
        if self._budget.usd is not None and self._usd + usd > self._budget.usd:
            return (
                f"the text teacher's budget: ${self._usd:.4f} of ${self._budget.usd:.4f} are spent "
                f"({self._ledger.path}), and the next request may take ${usd:.4f}; raise "
                f"text_teacher.budget.usd {again}"
            )
        return None

    def _settle(self, paid: Paid) -> None:
        with self._changed:
            self._tokens += paid.prompt_tokens + paid.generated_tokens
            self._usd += price(paid.tokens, self._prices)
        self._ledger.add(paid)


def _lock(handle: BinaryIO, folder: Path) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise BusyError(
            f"another process spends the budget of {folder}: wait for it, or give this training "
            "its own text_teacher.cache"
        ) from None
