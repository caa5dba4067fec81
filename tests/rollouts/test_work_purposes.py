"""What an agent's calls count as, from the agent's own word to the attempt's record."""

from pathlib import Path
from typing import Any

import httpx
import pytest

from harness.agents.base import Agent, Endpoint
from harness.gateway import read_calls
from harness.records import Outcome, StopReason
from harness.rollouts.ledger import Job
from tests.gateway.scripted import Scripted, say
from tests.rollouts.small_runs import executor, instances, work_order


class Caller(Agent):
    """Makes one call of each purpose."""

    purposes = frozenset({"condenser"})

    def run(self, *_: Any, endpoint: Endpoint | None, **__: Any) -> Outcome:
        assert endpoint is not None
        transport = httpx.HTTPTransport(uds=str(endpoint.socket))
        with httpx.Client(transport=transport) as client:
            for purpose in ("condenser", "other"):
                client.post(
                    f"{endpoint.base_url}/chat/completions",
                    json={"messages": [{"role": "user", "content": "x"}]},
                    headers={"X-Harness-Purpose": purpose},
                )
        return Outcome(patch="", stop_reason=StopReason.FINISHED)


def test_the_agent_declares_what_is_no_turn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.rollouts.work.make_agent", lambda *_: Caller())
    chosen = instances(1)
    with Scripted(say("fine")).serve() as upstream:
        order = work_order("purposes", "noop", chosen, endpoint=upstream.endpoint)
        with executor("local", order) as worker:
            made = worker.make(Job(instance_id=chosen[0].instance_id, seed=0), tmp_path / "a")
    assert [row.purpose for row in read_calls(tmp_path / "a/calls.parquet")] == [
        "condenser",
        "agent",
    ]
    assert made.usage.turns == 1
