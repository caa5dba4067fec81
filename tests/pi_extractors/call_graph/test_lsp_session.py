"""The resolver over a language server: what a bad server can do is bounded, and told."""

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pi_extractors.call_graph.lsp_session import LspLimits, LspResolver, LspSession
from pi_extractors.call_graph.resolver import Location, Site
from pi_extractors.call_graph.workspace import Workspace

SERVER = Path(__file__).with_name("fake_language_server.py")
TEXT = "def first():\n    pass\n\n'\U0001f600\U0001f600'; first(); first()\n"
SITES = [Site(4, 6, "first"), Site(4, 15, "first")]
HERE = (Location("pkg/a.py", 1, 0.9),)


class Rig:
    """Sessions with the fake server, and what it logged."""

    def __init__(self, folder: Path) -> None:
        self.log = folder / "log"
        self.log.touch()
        self.workspace = Workspace({"pkg/a.py": TEXT}, ["."])
        self.sessions: list[LspSession] = []

    def open(self, mode: str, limits: LspLimits | None = None) -> LspSession:
        limits = limits or LspLimits(start=20, request=0.5, session=20, failures=1)
        command = (sys.executable, "-I", str(SERVER), mode, str(self.log))
        session = LspResolver("fake", "1", command, limits=limits).open(self.workspace)
        self.sessions.append(session)
        return session

    @property
    def pids(self) -> list[int]:
        return [int(line) for line in self.log.read_text().splitlines() if line.isdigit()]


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    rig = Rig(tmp_path)
    yield rig
    for session in rig.sessions:
        session.close()
    rig.workspace.close()
    for pid in rig.pids:
        deadline = time.monotonic() + 10
        while _runs(pid) and time.monotonic() < deadline:
            time.sleep(0.02)
        assert not _runs(pid)


def _runs(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def test_an_honest_server_is_asked_and_started_once(rig: Rig) -> None:
    session = rig.open("honest")
    answer = session.resolve("pkg/a.py", TEXT, SITES)
    assert answer.locations == dict.fromkeys(SITES, HERE)
    assert answer.skipped == ()
    assert len(rig.pids) == 1


@pytest.mark.parametrize(("mode", "column"), [("honest", 8), ("utf-32", 6)])
def test_columns_are_counted_as_the_server_says(rig: Rig, mode: str, column: int) -> None:
    rig.open(mode).resolve("pkg/a.py", TEXT, SITES[:1])
    assert f"column {column}" in rig.log.read_text().splitlines()


def test_questions_of_the_server_are_answered(rig: Rig) -> None:
    assert rig.open("asks-back").resolve("pkg/a.py", TEXT, SITES[:1]).locations


@pytest.mark.parametrize(
    ("mode", "said"),
    [
        ("hang", "no answer in time"),
        ("hang-with-child", "no answer in time"),
        ("flood", "no answer in time"),
        ("stale", "no answer in time"),
        ("crash", "ended unexpectedly"),
        ("no-header", "no message header"),
        ("negative-length", "malformed message header"),
        ("huge-length", "malformed message header"),
        ("no-json", "no JSON"),
        ("deep-json", "no JSON"),
        ("no-object", "no JSON object"),
        ("no-location", "no location"),
        ("text", "no location"),
    ],
)
def test_a_bad_server_is_restarted_and_given_up(rig: Rig, mode: str, said: str) -> None:
    began = time.monotonic()
    answer = rig.open(mode).resolve("pkg/a.py", TEXT, SITES * 20)
    assert time.monotonic() - began < 15
    assert answer.locations == {}
    first, second = answer.skipped
    assert said in first.reason
    assert "2 calls, the first in line 4" in first.reason
    assert second.reason.startswith("fake: not asked, the server failed 2 times: 38 calls")
    assert len(rig.pids) == (4 if mode == "hang-with-child" else 2)


@pytest.mark.parametrize("mode", ["hang-at-start", "deaf"])
def test_a_server_that_does_not_start_is_given_up(rig: Rig, mode: str) -> None:
    limits = LspLimits(start=0.5, request=0.5, session=20, failures=1)
    answer = rig.open(mode, limits).resolve("pkg/a.py", TEXT, SITES * 2)
    assert "no answer in time: 2 calls" in answer.skipped[0].reason


def test_a_server_that_reads_nothing_does_not_block_what_is_sent(rig: Rig) -> None:
    text = TEXT + "#" * 1_000_000
    limits = LspLimits(start=0.5, request=0.5, session=20, failures=0)
    answer = rig.open("deaf", limits).resolve("pkg/a.py", text, SITES)
    assert len(answer.skipped) == 2


def test_a_command_that_is_not_there_is_told(rig: Rig) -> None:
    resolver = LspResolver("none", "1", ("/no/such/server",))
    session = resolver.open(rig.workspace)
    assert "cannot be started" in session.resolve("pkg/a.py", TEXT, SITES).skipped[0].reason
    session.close()


def test_the_session_has_an_end(rig: Rig) -> None:
    limits = LspLimits(start=20, request=0.4, session=1.5, failures=1000)
    began = time.monotonic()
    answer = rig.open("hang", limits).resolve("pkg/a.py", TEXT, SITES * 500)
    assert time.monotonic() - began < 10
    assert "not asked, 1.5 s were used up" in answer.skipped[-1].reason


def test_answers_before_a_failure_are_kept(rig: Rig) -> None:
    answer = rig.open("second-call-hangs").resolve("pkg/a.py", TEXT, SITES)
    assert answer.locations == {SITES[0]: HERE}
    assert "no answer in time: 1 calls" in answer.skipped[0].reason


def test_a_refusal_is_no_failure(rig: Rig) -> None:
    answer = rig.open("refuse").resolve("pkg/a.py", TEXT, SITES * 5)
    assert [one.reason for one in answer.skipped] == [
        "fake: the server refused: 10 calls, the first in line 4"
    ]
    assert len(rig.pids) == 1


@pytest.mark.parametrize("mode", ["outside", "dots"])
def test_what_lies_outside_is_outside(rig: Rig, mode: str) -> None:
    answer = rig.open(mode).resolve("pkg/a.py", TEXT, SITES[:1])
    assert {one.path for one in answer.locations[SITES[0]]} == {None}


def test_lines_that_define_nothing_are_no_answer(rig: Rig) -> None:
    answer = rig.open("far-line").resolve("pkg/a.py", TEXT, SITES[:1])
    assert answer.locations == {}


def test_places_outside_the_text_are_not_asked(rig: Rig) -> None:
    answer = rig.open("honest").resolve("pkg/a.py", TEXT, [Site(99, 0, "x"), Site(1, 500, "y")])
    assert "no such place" in answer.skipped[0].reason
    assert rig.pids == []


def test_closing_leaves_nothing_behind(rig: Rig) -> None:
    session = rig.open("honest")
    session.resolve("pkg/a.py", TEXT, SITES)
    [pid] = rig.pids
    assert os.getpgid(pid) == pid
    session.close()
    session.close()
    assert not _runs(pid)
