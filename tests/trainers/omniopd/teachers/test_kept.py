"""Answers that are kept."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest
import torch

from tests.trainers.omniopd.teachers.counting import (
    ASKS,
    GENERATED,
    PRICES,
    PROMPT,
    Counting,
    all_of,
    kept,
)
from tests.trainers.omniopd.teachers.scripted import QUESTION, Scripted, ask
from tests.trainers.tiny import wait_until
from trainers.engine.errors import TeacherError
from trainers.omniopd.settings import Budget, RecordedSettings
from trainers.omniopd.teachers.budget import Ledger
from trainers.omniopd.teachers.kept import KeptTeacher
from trainers.omniopd.teachers.make import make_text_teacher
from trainers.omniopd.texts import Answer, Ask


def test_what_was_paid_is_replayed_to_any_process(tmp_path: Path) -> None:
    inner = Counting(together=2)
    first = kept(inner, tmp_path, prices=PRICES)
    found = all_of(first, count=3)
    assert found[1].texts == ("text 1/0/0", "text 1/0/1", "text 1/1/0")
    assert (found[1].prompt_tokens, found[1].generated_tokens) == (2 * PROMPT, 3 * GENERATED)
    assert (found[1].requests, found[1].seconds) == (2, 1.0)
    assert not any(each.replayed for each in found)
    assert len(inner.asked) == 16
    again = Counting(together=2)
    second = kept(again, tmp_path, prices=PRICES)
    assert all_of(second, count=3) == [each.model_copy(update={"replayed": True}) for each in found]
    assert not again.asked
    spent = first.spent()
    assert (spent.prompt_tokens, spent.cached_tokens, spent.generated_tokens) == (160, 32, 96)
    assert (spent.requests, spent.seconds, spent.replayed) == (16, 8.0, 0)
    assert spent.usd == pytest.approx((128 + 16 + 960) / 1e6)
    assert second.spent().model_dump(exclude={"replayed"}) == type(spent)().model_dump(
        exclude={"replayed"}
    )
    assert second.spent().replayed == 16
    assert second.spent(by_all=True) == spent.model_copy(update={"replayed": 16})


@pytest.mark.parametrize(
    "other",
    [
        ask("text 0", characters=41),
        ask("text 0", tokens=9),
        ask("text 0", QUESTION, QUESTION),
        ask("text 0 "),
    ],
)
def test_another_ask_is_another_answer(tmp_path: Path, other: Ask) -> None:
    inner = Counting()
    teacher = kept(inner, tmp_path)
    all_of(teacher, [ASKS[0]])
    all_of(teacher, [other])
    assert len(inner.asked) == 2
    assert len({part.sampling_seed for part in inner.asked}) == 2
    list(teacher.continuations([ASKS[0]], 2, 1))
    list(teacher.continuations([ASKS[0]], 3, 0))
    all_of(kept(Counting(temperature="0.5"), tmp_path), [ASKS[0]])
    assert len(inner.asked) == 4
    assert len([*tmp_path.glob("??/*.json")]) == 5


def test_the_same_ask_twice_is_paid_and_counted_once(tmp_path: Path) -> None:
    inner = Counting(concurrency=4)
    teacher = kept(inner, tmp_path)
    found = all_of(teacher, [ASKS[0], ASKS[1], ASKS[0]])
    assert len(inner.asked) == 2
    assert found[0].texts == found[2].texts
    assert (found[2].prompt_tokens, found[2].requests, found[2].replayed) == (0, 0, True)


def test_threads_that_ask_the_same_pay_once(tmp_path: Path) -> None:
    inner = Counting()
    inner.wait = threading.Event()
    teacher = kept(inner, tmp_path)
    found: list[list[Answer]] = []
    threads = [
        threading.Thread(target=lambda: found.append(all_of(teacher, ASKS[:1]))) for _ in range(4)
    ]
    for each in threads:
        each.start()
    wait_until(lambda: bool(inner.asked))
    inner.wait.set()
    for each in threads:
        each.join()
    assert len(inner.asked) == 1
    assert len(found) == 4
    assert teacher.spent().replayed == 3


@pytest.mark.parametrize("damage", [b"", b"{", b'{"key": "x", "part": "", "answer": null}', None])
def test_damaged_files_are_asked_for_again(tmp_path: Path, damage: bytes | None) -> None:
    all_of(kept(Counting(), tmp_path))
    one, other = sorted(tmp_path.glob("??/*.json"))[:2]
    one.write_bytes(other.read_bytes() if damage is None else damage)
    inner = Counting()
    assert len(all_of(kept(inner, tmp_path))) == 8
    assert len(inner.asked) == 1
    assert (
        not all_of(again := kept(Counting(), tmp_path))[0].replayed or again.spent().replayed == 8
    )


def test_what_came_before_an_error_is_kept(tmp_path: Path) -> None:
    inner = Counting(concurrency=2)
    inner.fails = "text 5"
    with pytest.raises(TeacherError, match="it fell over"):
        all_of(kept(inner, tmp_path))
    done = len(inner.asked) - 1
    assert done == len([*tmp_path.glob("??/*.json")]) >= 4
    again = Counting()
    all_of(kept(again, tmp_path))
    assert len(again.asked) == 8 - done


def test_records_need_no_teacher(tmp_path: Path) -> None:
    found = all_of(kept(Counting(), tmp_path))
    settings = RecordedSettings(kind="recorded", cache=tmp_path)
    recorded = make_text_teacher(settings, tmp_path / "out", torch.device("cpu"))
    recorded.check(ASKS)
    assert recorded.identity == Counting().identity
    assert [each.texts for each in all_of(recorded)] == [each.texts for each in found]
    more = [*ASKS, ask("a text that nobody asked about, and that goes on for long, very long")]
    with pytest.raises(TeacherError, match=r"for 1 of 9 texts, such as 'a text that nobody"):
        all_of(recorded, more)
    all_of(kept(Counting(temperature="0.5"), tmp_path))
    two = make_text_teacher(settings, tmp_path / "out", torch.device("cpu"))
    with pytest.raises(TeacherError, match=r"of 2 teachers, .*'temperature': \['0.5', '1.0'\]"):
        two.check(ASKS)
    warm = RecordedSettings(kind="recorded", cache=tmp_path, temperature=1.0)
    assert [
        each.texts
        for each in all_of(make_text_teacher(warm, tmp_path / "out", torch.device("cpu")))
    ] == [each.texts for each in found]
    cold = RecordedSettings(kind="recorded", cache=tmp_path / "none")
    with pytest.raises(TeacherError, match="no recorded answers"):
        make_text_teacher(cold, tmp_path / "out", torch.device("cpu")).check(ASKS)


_ASKS_AND_WAITS = """
import sys
from pathlib import Path
import orjson
from trainers.omniopd.settings import Budget, EndpointSettings
from trainers.omniopd.teachers.bounds import TokenBound
from trainers.omniopd.teachers.budget import Ledger
from trainers.omniopd.teachers.endpoint import EndpointTeacher
from trainers.omniopd.teachers.kept import KeptTeacher
from trainers.omniopd.texts import Ask, Message
folder, values, texts = Path(sys.argv[1]), orjson.loads(sys.argv[2]), orjson.loads(sys.argv[3])
inner = EndpointTeacher(EndpointSettings(**values), folder, TokenBound(), Ledger(folder).add)
asks = [Ask((Message(role="user", content="go on"),), text, 40, 8) for text in texts]
for _ in KeptTeacher(inner, folder, Budget(), None).continuations(asks, 2, 0):
    pass
"""


@pytest.fixture
def server() -> Iterator[Scripted]:
    with Scripted(flags=True).serve() as found:
        yield found


def test_a_killed_process_pays_nothing_twice(tmp_path: Path, server: Scripted) -> None:
    server.latency = 0.03
    values = server.settings(concurrency=2).model_dump()
    asks = [ask(f"text {number}") for number in range(30)]
    texts = orjson.dumps([each.text for each in asks])
    command: list[str | bytes] = [
        sys.executable,
        "-c",
        _ASKS_AND_WAITS,
        str(tmp_path),
        orjson.dumps(values),
        texts,
    ]
    process = subprocess.Popen(command, env=os.environ | {"PYTHONPATH": ":".join(sys.path)})
    wait_until(lambda: len([*tmp_path.glob("??/*.json")]) >= 4)
    process.send_signal(signal.SIGKILL)
    process.wait()
    wait_until(lambda: server.busy == 0)
    done, before = len([*tmp_path.glob("??/*.json")]), len(server.asked)
    assert 4 <= done < 30
    server.latency = 0.0
    teacher = KeptTeacher(
        server.teacher(tmp_path, concurrency=2), tmp_path, Budget(tokens=10**6), None
    )
    found = all_of(teacher, asks)
    assert len(server.asked) - before == 30 - done
    assert sum(each.replayed for each in found) == teacher.spent().replayed == done
    assert [each.texts for each in found] == [(f" after {n}",) * 2 for n in range(30)]
    ledger = [each.key for each in Ledger(tmp_path).read()]
    assert ledger.count("probe") == 1
    assert 30 <= len(set(ledger) - {"probe"}) <= 32
