"""Many attempts at once."""

import json
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

from aiohttp import web

from harness.gateway import Door, Gateway, read_calls
from harness.records import Budget
from tests.gateway.clients import QUICK, ask, client, streamed_text
from tests.gateway.scripted import Json, Scripted, answer, decode, fail, rendered

DOORS, CALLS = 200, 3


async def _echo(endpoint: Scripted, request: web.Request, body: Json) -> web.StreamResponse:
    """Answers with the last message; every seventh request fails first."""
    if len(endpoint.requests) % 7 == 0:
        return await fail(503)(endpoint, request, body)
    return await answer(endpoint, request, body, {"content": body["messages"][-1]["content"]})


def test_no_attempt_sees_anything_of_another(tmp_path: Path) -> None:
    with (
        Scripted(_echo).serve() as scripted,
        Gateway(scripted.endpoint, QUICK) as gateway,
        ExitStack() as stack,
        ThreadPoolExecutor(32) as pool,
    ):
        paths = [tmp_path / f"{number}.parquet" for number in range(DOORS)]

        def opened(number: int) -> Door:
            return gateway.open(budget=Budget(), seed=number, calls=paths[number])

        doors = [stack.enter_context(door) for door in pool.map(opened, range(DOORS))]

        def run(number: int) -> list[str]:
            with client(doors[number]) as http:
                said = []
                for call in range(CALLS):
                    messages = [{"role": "user", "content": f"{number}:{call}"}]
                    stream = bool((number + call) % 2)
                    response = ask(http, messages, stream=stream)
                    said.append(
                        streamed_text(response)
                        if stream
                        else response.json()["choices"][0]["message"]["content"]
                    )
                return said

        for number, said in enumerate(pool.map(run, range(DOORS))):
            assert said == [f"{number}:{call}" for call in range(CALLS)]
        reports = list(pool.map(lambda door: door.close(), doors))
    for number, report in enumerate(reports):
        assert report.usage.turns == CALLS
        assert report.ended is None
        rows = sorted(read_calls(paths[number]), key=lambda row: row.call)
        for call, row in enumerate(rows):
            messages = [{"role": "user", "content": f"{number}:{call}"}]
            assert decode(list(row.sampled_ids)) == f"{number}:{call}"
            assert decode(list(row.prompt_ids)) == rendered(messages)
            assert json.loads(row.request)["messages"] == messages
        assert [row.turn for row in rows] == [1, 2, 3]
    assert sum(report.calls.retries for report in reports) > 0


def test_rows_are_written_as_they_come(tmp_path: Path) -> None:
    big = [{"role": "user", "content": "x" * 60_000}]
    calls = tmp_path / "calls.parquet"
    with (
        Scripted(_echo).serve() as scripted,
        Gateway(scripted.endpoint, QUICK) as gateway,
        gateway.open(budget=Budget(), seed=1, calls=calls) as door,
        client(door) as http,
    ):
        for _ in range(3):
            ask(http, big)
        gateway._records.submit(int).result()
        assert calls.stat().st_size > 1000
        door.close()
    assert [len(row.prompt_ids) > 60_000 for row in read_calls(calls)] == [True] * 3
