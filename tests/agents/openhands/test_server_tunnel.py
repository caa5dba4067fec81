"""A sandbox's connections to us, used in the other direction."""

import asyncio
from pathlib import Path

import pytest
from pydantic import SecretStr

from harness.agents.openhands import server_tunnel
from harness.agents.openhands.server_tunnel import Tunnel

KEY = SecretStr("secret")


async def echo(socket: Path) -> None:
    """Connect, and send back what comes."""
    reader, writer = await asyncio.open_unix_connection(socket)
    writer.write(b"secret")
    while data := await reader.read(1000):
        writer.write(data)
    writer.close()


async def ask(tunnel: Tunnel, text: bytes) -> bytes:
    """What the other end makes of a text."""
    reader, writer = await asyncio.open_unix_connection(tunnel.outside)
    writer.write(text)
    try:
        return await reader.read(1000)
    finally:
        writer.close()


def test_each_request_takes_a_connection_of_its_own(tmp_path: Path) -> None:
    async def run() -> None:
        async with Tunnel(tmp_path / "inside", KEY) as tunnel:
            far = [asyncio.create_task(echo(tmp_path / "inside")) for _ in range(3)]
            texts = [b"one", b"two", b"three"]
            assert await asyncio.gather(*(ask(tunnel, text) for text in texts)) == texts
        await asyncio.gather(*far)

    asyncio.run(run())


def test_a_connection_that_has_ended_is_passed_over(tmp_path: Path) -> None:
    async def run() -> None:
        async with Tunnel(tmp_path / "inside", KEY) as tunnel:
            _, writer = await asyncio.open_unix_connection(tmp_path / "inside")
            writer.write(b"secret")
            writer.close()
            await writer.wait_closed()
            await asyncio.sleep(0.01)
            far = asyncio.create_task(echo(tmp_path / "inside"))
            assert await ask(tunnel, b"text") == b"text"
        await far

    asyncio.run(run())


def test_a_request_does_not_wait_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_tunnel, "_WAIT_SECONDS", 0.01)

    async def run() -> None:
        async with Tunnel(tmp_path / "inside", KEY) as tunnel:
            assert await ask(tunnel, b"text") == b""

    asyncio.run(run())


def test_only_some_connections_are_kept_waiting(tmp_path: Path) -> None:
    async def run() -> None:
        async with Tunnel(tmp_path / "inside", KEY):
            ends = [await asyncio.open_unix_connection(tmp_path / "inside") for _ in range(20)]
            for _, writer in ends[:16]:
                writer.write(b"secret")
            await asyncio.sleep(0.05)
            assert [reader.at_eof() for reader, _ in ends] == [False] * 8 + [True] * 12
            for _, writer in ends:
                writer.close()

    asyncio.run(run())


def test_who_has_no_key_hears_nothing(tmp_path: Path) -> None:
    async def run() -> None:
        async with Tunnel(tmp_path / "inside", KEY) as tunnel:
            stranger, writer = await asyncio.open_unix_connection(tmp_path / "inside")
            writer.write(b"sEcret and more")
            assert await stranger.read() == b""
            silent, _ = await asyncio.open_unix_connection(tmp_path / "inside")
            far = asyncio.create_task(echo(tmp_path / "inside"))
            assert await ask(tunnel, b"text") == b"text"
        assert await silent.read() == b""
        await far

    asyncio.run(run())


def test_nothing_is_left_behind(tmp_path: Path) -> None:
    async def run() -> None:
        async with Tunnel(tmp_path / "inside", KEY) as tunnel:
            assert (tmp_path / "inside").stat().st_mode & 0o777 == 0o666
            assert tunnel.outside.parent.stat().st_mode & 0o777 == 0o700
            far = asyncio.create_task(echo(tmp_path / "inside"))
            await ask(tunnel, b"text")
        assert not tunnel.outside.parent.exists()
        await far

    asyncio.run(run())
    assert list(tmp_path.iterdir()) == []


def test_a_socket_that_is_there_is_not_taken_over(tmp_path: Path) -> None:
    async def run() -> None:
        async with Tunnel(tmp_path / "inside", KEY), Tunnel(tmp_path / "inside", KEY):
            pass

    with pytest.raises(FileExistsError):
        asyncio.run(run())
