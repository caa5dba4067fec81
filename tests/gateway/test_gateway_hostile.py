"""Clients that mean harm: they get refusals, other attempts get answers, nobody gets the key."""

import logging
import os
import socket
import stat
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import httpx
import pytest

from harness.gateway import Gateway, GatewayOptions
from harness.gateway.gateway import SOCKETS_VARIABLE
from harness.gateway.server import SocketPathError
from harness.records import Budget
from tests.gateway.clients import HELLO, QUICK, Attempt, attempt
from tests.gateway.scripted import KEY, Scripted, fail, say

SMALL = QUICK.model_copy(
    update={"request_bytes": 4096, "request_seconds": 1.5, "connections": 4, "calls_at_once": 2}
)
HEAD = b"POST /v1/chat/completions HTTP/1.1\r\nHost: gateway\r\n"


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[tuple[Attempt, Attempt]]:
    """The doors of a hostile and of an innocent attempt."""
    with ExitStack() as stack:
        scripted = stack.enter_context(Scripted(say("fine")).serve())
        gateway = stack.enter_context(Gateway(scripted.endpoint, SMALL))
        attempts = []
        for name in ("hostile", "innocent"):
            calls = tmp_path / f"{name}.parquet"
            door = stack.enter_context(gateway.open(budget=Budget(), seed=1, calls=calls))
            attempts.append(Attempt(door, calls, scripted))
        yield attempts[0], attempts[1]


def _connect(one: Attempt) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(10)
    connection.connect(str(one.door.folder / "gateway.sock"))
    return connection


def _all(connection: socket.socket) -> bytes:
    data = b""
    with suppress(ConnectionError):
        while chunk := connection.recv(65536):
            data += chunk
    return data


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x00\xff\x16\x03garbage\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"POST /v1/chat/completions HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        HEAD + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\nabcde",
        HEAD + b"X: " + b"x" * 100_000 + b"\r\n\r\n",
        HEAD + b"".join(b"X%d: y\r\n" % n for n in range(500)) + b"\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nabc\r\n",
        b"CONNECT 127.0.0.1:22 HTTP/1.1\r\nHost: x\r\n\r\n",
    ],
)
def test_garbage_is_answered_or_cut(pair: tuple[Attempt, Attempt], garbage: bytes) -> None:
    hostile, innocent = pair
    with _connect(hostile) as connection:
        connection.sendall(garbage)
        answer = _all(connection)
    assert b"200 OK" not in answer
    assert KEY.encode() not in answer
    assert innocent.ask().status_code == 200
    assert hostile.ask().status_code == 200


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b"[]", 400),
        (b'{"messages": "x"}', 400),
        (b'{"messages": [' + b"[" * 2000 + b"]" * 2000 + b"]}", 400),
        (b'{"messages": [' + b"[" * 500 + b"]" * 500 + b"]}", 400),
        (b'{"messages": ["\\udcff"]}', 400),
        (b'{"messages": [NaN]}', 400),
        (b"\xff\xfe", 400),
        (b"x" * 5000, 413),
    ],
)
def test_a_body_that_is_no_request(pair: tuple[Attempt, Attempt], body: bytes, status: int) -> None:
    hostile, _ = pair
    answer = hostile.http.post("chat/completions", content=body)
    assert answer.status_code == status
    assert answer.json()["error"]["message"]
    report, [row] = hostile.end()
    assert row.status == "refused"
    assert report.ended is None
    assert hostile.upstream.requests == []


def test_a_body_without_end_is_cut(pair: tuple[Attempt, Attempt]) -> None:
    hostile, innocent = pair
    with _connect(hostile) as connection:
        connection.sendall(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
        cut_off = False
        deadline = time.monotonic() + 20
        while not cut_off and time.monotonic() < deadline:
            try:
                connection.sendall(b"1000\r\n" + b"x" * 4096 + b"\r\n")
            except ConnectionError:
                cut_off = True
        assert cut_off
    assert innocent.ask().status_code == 200


def test_too_many_brackets_are_not_parsed(tmp_path: Path) -> None:
    with attempt(tmp_path, say("x")) as one:
        body = b'{"messages": [' + b"[]," * 300_000 + b"1]}"
        assert one.http.post("chat/completions", content=body).status_code == 413


@pytest.mark.parametrize("start", [b"", b"POST /v1/ch", HEAD + b"Content-Length: 9\r\n\r\n{"])
def test_a_request_that_never_ends_is_cut(pair: tuple[Attempt, Attempt], start: bytes) -> None:
    hostile, _ = pair
    with _connect(hostile) as connection:
        connection.sendall(start)
        began = time.monotonic()
        _all(connection)
        assert time.monotonic() - began < 5


def test_connections_are_bounded(pair: tuple[Attempt, Attempt]) -> None:
    hostile, innocent = pair
    with ExitStack() as stack:
        connections = [stack.enter_context(_connect(hostile)) for _ in range(12)]
        time.sleep(0.1)
        for connection in connections:
            connection.setblocking(False)
        refused = 0
        for connection in connections:
            with suppress(BlockingIOError):
                refused += connection.recv(1) == b""
        assert refused == len(connections) - SMALL.connections
        assert innocent.ask().status_code == 200


def test_a_client_that_reads_nothing_holds_nobody(tmp_path: Path) -> None:
    options = QUICK.model_copy(update={"stall_seconds": 0.3})
    with attempt(tmp_path, say("x" * 20_000), say("ok"), options=options) as one:
        body = b'{"messages": [], "stream": true}'
        with _connect(one) as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
            connection.sendall(HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body)
            assert one.ask().status_code == 200
            time.sleep(0.5)
            _, rows = one.end()
    assert [row.status for row in rows] == ["answered", "cancelled"]


def test_who_is_refused_again_and_again_has_to_wait(tmp_path: Path) -> None:
    with attempt(tmp_path, say("x"), budget=Budget(turns=1)) as one:
        one.ask()
        began = time.monotonic()
        assert {one.ask().status_code for _ in range(6)} == {400}
        assert time.monotonic() - began >= 0.1 + 0.2 + 0.4


def test_the_key_stays_in_the_gateway(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    echo = fail(400, f"you sent Bearer {KEY}", x_echo=KEY)
    with attempt(tmp_path, echo, echo, echo, say("x"), fail(500, KEY)) as one:
        answers = [one.ask(), one.ask(), one.ask(stream=True), one.http.get("models")]
        report, rows = one.end()
    seen = "".join(a.text + str(a.headers) for a in answers)
    seen += report.model_dump_json() + repr(rows) + repr(one.door.endpoint) + caplog.text
    assert one.door.endpoint.api_key is None
    assert "[key]" in seen
    assert KEY not in seen
    assert KEY.encode() not in (tmp_path / "calls.parquet").read_bytes()
    assert all(KEY in headers["Authorization"] for headers in one.upstream.headers)


def test_headers_of_the_agent_go_nowhere(tmp_path: Path) -> None:
    with attempt(tmp_path, say("x")) as one:
        one.http.headers["Authorization"] = "Bearer mine"
        one.http.headers["X-Evil"] = "1"
        one.ask()
    [headers] = one.upstream.headers
    assert "X-Evil" not in headers
    assert headers["Authorization"] == f"Bearer {KEY}"


def test_who_may_connect(tmp_path: Path) -> None:
    with attempt(tmp_path, say("x")) as one:
        folder = one.door.folder
        assert stat.S_IMODE((folder / "gateway.sock").stat().st_mode) == 0o666
        assert stat.S_IMODE(folder.stat().st_mode) == 0o755
        assert stat.S_IMODE(folder.parent.stat().st_mode) == 0o700
        assert folder.parent.stat().st_uid == os.getuid()


def test_sockets_are_made_where_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SOCKETS_VARIABLE, str(tmp_path / "here"))
    with attempt(tmp_path, say("x")) as one:
        assert one.door.folder.parent.parent == tmp_path / "here"
        assert one.ask().status_code == 200
    assert list((tmp_path / "here").iterdir()) == []


def test_a_path_too_long_for_a_socket(tmp_path: Path) -> None:
    long = tmp_path / ("x" * 100)
    with (
        Scripted(say("x")).serve() as scripted,
        Gateway(scripted.endpoint, GatewayOptions(), sockets=long) as gateway,
    ):
        with pytest.raises(SocketPathError, match=SOCKETS_VARIABLE):
            gateway.open(budget=Budget(), seed=1, calls=tmp_path / "calls.parquet")
        assert list(next(long.iterdir()).iterdir()) == []


def test_a_record_that_cannot_be_written_ends_the_attempt(tmp_path: Path) -> None:
    with attempt(tmp_path, say("x")) as one:
        one.ask()
        (tmp_path / "calls.parquet").mkdir()
        report = one.door.close()
    assert report.ended == "infrastructure"
    assert "cannot be written" in report.detail


def test_other_requests_are_not_recorded_with_messages(tmp_path: Path) -> None:
    with attempt(tmp_path, say("x")) as one:
        assert one.http.delete("chat/completions").status_code == 404
        assert httpx.codes.is_success(one.ask(HELLO).status_code)
        _, rows = one.end()
    assert len(rows) == 1
