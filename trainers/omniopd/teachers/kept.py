"""A text teacher whose answers are kept: nothing is paid twice."""

import hashlib
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from weakref import WeakValueDictionary

from harness.records.base import Record
from trainers.omniopd.settings import Budget, Prices
from trainers.omniopd.teachers.budget import Ledger, Paid, Purse, price
from trainers.omniopd.teachers.cache import AnswerCache
from trainers.omniopd.teachers.parts import Part, PartTeacher, answers, parts
from trainers.omniopd.teachers.recorded import Described, RecordedTeacher
from trainers.omniopd.texts import Answer, Ask

_FREE = {
    **dict.fromkeys(("prompt_tokens", "generated_tokens", "cached_tokens", "requests"), 0),
    "seconds": 0.0,
    "replayed": True,
}


class Spent(Record):
    """What was paid, in requests that were answered. usd: 0 without prices.

    seconds: of requests side by side, added up. replayed: parts of answers that had been kept.
    empty: continuations without any text, kept ones included.
    """

    prompt_tokens: int = 0
    cached_tokens: int = 0
    generated_tokens: int = 0
    requests: int = 0
    seconds: float = 0.0
    usd: float = 0.0
    replayed: int = 0
    empty: int = 0


class KeptTeacher:
    """A `TextTeacher` that asks another one for what is not in a folder yet, within a budget.

    Identical asks at the same time are paid once. Raises ConfigError for a budget in dollars
    without prices.
    """

    def __init__(
        self, inner: PartTeacher, folder: Path, budget: Budget, prices: Prices | None
    ) -> None:
        self.inner = inner
        self.folder = folder
        self._cache = AnswerCache(folder)
        self._ledger = Ledger(folder)
        self._purse = Purse(self._ledger, budget, prices)
        self._prices = prices
        self._spent = Spent()
        self._lock = threading.Lock()
        self._busy: WeakValueDictionary[str, _Turn] = WeakValueDictionary()

    @property
    def identity(self) -> dict[str, str]:
        """See `TextTeacher`."""
        return self.inner.identity

    def check(self, asks: Sequence[Ask]) -> None:
        """See `TextTeacher`."""
        self.inner.check(asks)

    def continuations(
        self, asks: Sequence[Ask], count: int, seed: int
    ) -> Iterator[tuple[int, Answer]]:
        """See `TextTeacher`. The same ask twice is paid once, and counted once.

        Raises BusyError while another process spends the same budget.
        """
        if not asks:
            return
        described = Described(identity=self.identity, together=self.inner.together)
        described.keep(self.folder)
        digest = described.sha256
        same: dict[Ask, list[int]] = {}
        for number, ask in enumerate(asks):
            same.setdefault(ask, []).append(number)
        numbers = [*same.values()]

        def answer(part: Part) -> Answer:
            return self._answer(digest, part)

        if isinstance(self.inner, RecordedTeacher):
            self._require_all(self.inner, digest, [*same], count, seed)
        with self._purse.open():
            for place, found in answers(self.inner, [*same], count, seed, answer):
                first, *others = numbers[place]
                yield first, found
                for number in others:
                    yield number, found.model_copy(update=_FREE)

    def spent(self, *, by_all: bool = False) -> Spent:
        """What this teacher was paid since it was made; `by_all`: whatever its folder's ledger has,
        of other trainings and of killed ones."""
        with self._lock:
            mine = self._spent
        if not by_all:
            return mine
        found = Spent(replayed=mine.replayed, empty=mine.empty)
        for paid in self._ledger.read():
            found = _plus(found, paid, self._prices)
        return found

    def _require_all(
        self, recorded: RecordedTeacher, teacher: str, asks: Sequence[Ask], count: int, seed: int
    ) -> None:
        """Raise TeacherError, before anything is done with the others, for asks not kept."""
        missing = [
            ask
            for ask in asks
            if any(
                self._cache.get(_key(teacher, part)) is None
                for part in parts(ask, count, seed, recorded.together)
            )
        ]
        if missing:
            raise recorded.missing(missing, len(asks))

    def _answer(self, teacher: str, part: Part) -> Answer:
        key = _key(teacher, part)
        turn = self._turn(key)
        with turn.lock:
            kept = self._cache.get(key)
            if kept is not None:
                self._count(kept.texts, replayed=1)
                return kept.model_copy(update={"replayed": True})
            with self._purse.paying(self.inner.most(part)) as settle:
                found = self.inner.answer(part)
                paid = Paid(key=key, **found.model_dump(exclude={"texts", "replayed"}))
                settle(paid)
            self._cache.put(key, part, found)
            self._count(found.texts, paid=paid)
            return found

    def _turn(self, key: str) -> "_Turn":
        with self._lock:
            return self._busy.setdefault(key, _Turn())

    def _count(self, texts: Sequence[str], *, replayed: int = 0, paid: Paid | None = None) -> None:
        empty = sum(not text for text in texts)
        with self._lock:
            now = self._spent if paid is None else _plus(self._spent, paid, self._prices)
            more = {"replayed": now.replayed + replayed, "empty": now.empty + empty}
            self._spent = now.model_copy(update=more)


class _Turn:
    """One request for a key at a time."""

    def __init__(self) -> None:
        self.lock = threading.Lock()


def _key(teacher: str, part: Part) -> str:
    return hashlib.sha256(f"{teacher} {part.sha256}".encode()).hexdigest()


def _plus(spent: Spent, paid: Paid, prices: Prices | None) -> Spent:
    return spent.model_copy(
        update={
            "prompt_tokens": spent.prompt_tokens + paid.prompt_tokens,
            "cached_tokens": spent.cached_tokens + paid.cached_tokens,
            "generated_tokens": spent.generated_tokens + paid.generated_tokens,
            "requests": spent.requests + paid.requests,
            "seconds": spent.seconds + paid.seconds,
            "usd": spent.usd + price(paid.tokens, prices),
        }
    )
