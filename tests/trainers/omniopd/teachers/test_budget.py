"""How far a text teacher may spend."""

import threading
from pathlib import Path

import pytest

from tests.trainers.omniopd.teachers.counting import (
    GENERATED,
    PRICES,
    PROMPT,
    Counting,
    all_of,
    kept,
)
from trainers.engine.errors import BusyError, ConfigError, TeacherError
from trainers.omniopd.settings import Budget, Prices
from trainers.omniopd.teachers.budget import Ledger, Paid, Purse, price
from trainers.omniopd.teachers.parts import Tokens


@pytest.mark.parametrize("concurrency", [1, 4])
def test_a_budget_of_tokens_stops_before_it_is_exceeded(tmp_path: Path, concurrency: int) -> None:
    each, most = PROMPT + 2 * GENERATED, 2 * (PROMPT + 2 * GENERATED)
    limit = 4 * each + most - 1  # the fifth request might cost one token too many
    inner = Counting(concurrency)
    with pytest.raises(TeacherError, match=rf"72 of {limit} tokens are spent .* may take 36") as no:
        all_of(kept(inner, tmp_path, tokens=limit))
    assert "text_teacher.budget.tokens" in str(no.value)
    assert len(inner.asked) == 4
    again = Counting(concurrency)
    with pytest.raises(TeacherError, match=r"90 of 108 tokens"):
        all_of(kept(again, tmp_path, tokens=limit + 1))
    assert len(again.asked) == 1
    rest = Counting(concurrency)
    all_of(kept(rest, tmp_path, tokens=8 * each + each))
    assert len(rest.asked) == 3


def test_a_budget_of_dollars(tmp_path: Path) -> None:
    one = (8 * 1.0 + 2 * 0.5 + 8 * 10.0) / 1e6
    most = (20 * 1.0 + 16 * 10.0) / 1e6
    inner = Counting()
    with pytest.raises(TeacherError, match=r"\$0\.0002 of \$0\.0004 are spent"):
        all_of(kept(inner, tmp_path, usd=2 * one + most - 1e-9, prices=PRICES))
    assert len(inner.asked) == 2
    with pytest.raises(ConfigError, match=r"budget\.usd: add text_teacher\.prices"):
        kept(inner, tmp_path, usd=1.0)
    dear = Prices(prompt_usd=0, generated_usd=0, cached_usd=3.0)
    assert price(Tokens(10, 5, 4), dear) == pytest.approx(12 / 1e6)


def test_a_request_waits_for_what_others_really_cost(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    purse = Purse(ledger, Budget(tokens=100), None)
    entered = threading.Event()

    def second() -> None:
        with purse.paying(Tokens(60, 0)) as settle:
            entered.set()
            settle(Paid(key="b", prompt_tokens=30, generated_tokens=0))

    thread = threading.Thread(target=second)
    with purse.open():
        with purse.paying(Tokens(60, 0)) as settle:
            thread.start()
            assert not entered.wait(0.05)
            settle(Paid(key="a", prompt_tokens=10, generated_tokens=20))
        thread.join(10)
        assert entered.is_set()
        with pytest.raises(TeacherError, match=r"60 of 100 tokens"), purse.paying(Tokens(41, 0)):
            raise AssertionError
        other = Purse(ledger, Budget(tokens=1), None)
        with pytest.raises(BusyError, match="another process spends"), other.open():
            raise AssertionError
    assert [each.key for each in ledger.read()] == ["a", "b"]


def test_a_ledger_that_was_cut_off(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    paid = Paid(key="a", prompt_tokens=1, generated_tokens=2)
    assert not [*ledger.read()]
    ledger.add(paid)
    ledger.path.write_bytes(ledger.path.read_bytes() + b'{"key": "b", "pro')
    Ledger(tmp_path).add(paid)
    assert [*ledger.read()] == [paid, paid]
