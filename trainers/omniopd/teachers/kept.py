"""A teacher whose answers are kept, and who stops at a budget."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed

from trainers.engine.errors import TeacherError
from trainers.omniopd.teachers.base import Continuer
from trainers.omniopd.teachers.cache import AnswerCache, answer_key
from trainers.omniopd.teachers.purse import Purse
from trainers.omniopd.texts import Answer, Ask


class KeptTeacher:
    """A `TextTeacher` that asks another for what the cache has not, side by side.

    teacher: none where there is nothing but the cache, whose answers `identity` gave.
    """

    def __init__(
        self,
        teacher: Continuer | None,
        cache: AnswerCache,
        purse: Purse,
        identity: dict[str, str] | None = None,
    ) -> None:
        self._teacher = teacher
        self._cache = cache
        self._purse = purse
        self._identity = identity or {}

    @property
    def identity(self) -> dict[str, str]:
        """See `TextTeacher`."""
        return self._identity if self._teacher is None else self._teacher.identity

    def check(self, asks: Sequence[Ask]) -> None:
        """See `TextTeacher`."""
        if self._teacher is not None:
            self._teacher.check(asks)

    def continuations(
        self, asks: Sequence[Ask], count: int, seed: int
    ) -> Iterator[tuple[int, Answer]]:
        """See `TextTeacher`. The same text is asked for once."""
        numbers: dict[str, list[int]] = {}
        for number, ask in enumerate(asks):
            numbers.setdefault(answer_key(self.identity, ask, count, seed), []).append(number)
        missing = []
        for key, mine in numbers.items():
            kept = self._cache.get(key)
            if kept is None:
                missing.append(key)
                continue
            yield from _for_each(mine, kept.model_copy(update={"replayed": True}))
        if missing and self._teacher is None:
            ask = asks[numbers[missing[0]][0]]
            raise TeacherError(
                f"{self._cache.folder}: no recorded answer for {len(missing)} of {len(asks)} "
                f"texts, such as the one that ends in {ask.text[-60:]!r}: replay with the settings "
                "and the runs of the recording, or give a teacher that can be asked"
            )
        if self._teacher is None:
            return
        with ThreadPoolExecutor(self._teacher.concurrency) as pool:
            running = {
                pool.submit(self._ask, key, asks[numbers[key][0]], count, seed): key
                for key in missing
            }
            try:
                for future in as_completed(running):
                    yield from _for_each(numbers[running[future]], future.result())
            except BaseException:
                pool.shutdown(wait=True, cancel_futures=True)
                raise

    def _ask(self, key: str, ask: Ask, count: int, seed: int) -> Answer:
        assert self._teacher is not None
        with self._purse.paying(ask, count) as pay:
            answer = self._teacher.answer(ask, count, seed)
            pay(answer)
        self._cache.put(key, answer)
        return answer


def _for_each(numbers: Sequence[int], answer: Answer) -> Iterator[tuple[int, Answer]]:
    """An answer to several asks, paid for once."""
    yield numbers[0], answer
    for number in numbers[1:]:
        free = {"prompt_tokens": 0, "generated_tokens": 0, "cached_tokens": 0, "requests": 0}
        yield number, answer.model_copy(update={**free, "seconds": 0.0, "replayed": True})
