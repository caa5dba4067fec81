"""Whatever a model endpoint does, every attempt ends, for the right reason."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from harness.gateway import GatewayOptions, read_calls
from harness.records import Attempt, Budget, StopReason
from harness.rollouts.ledger import Job
from tests.agents.scripted_endpoint import SUBMIT
from tests.gateway.scripted import Scripted, Step, body, call_tools, fail, hang, say
from tests.rollouts.small_runs import executor, instances, work_order

R = StopReason
QUICK = GatewayOptions(
    tries=4, first_pause_seconds=0.01, longest_pause_seconds=0.05, probe_seconds=0.01
)
IMPATIENT = QUICK.model_copy(update={"call_seconds": 0.3})
EMPTY = body(b'{"object": "chat.completion", "choices": []}')


@dataclass
class Fault:
    """What an endpoint does, and how an attempt that meets it has to end."""

    name: str
    steps: tuple[Step, ...]
    ends: frozenset[StopReason]
    options: GatewayOptions = QUICK
    seconds: float = 120.0

    def __str__(self) -> str:
        return self.name


def faults(done: Step) -> list[Fault]:
    """`done`: the answer with which an agent submits."""
    passing = frozenset({R.FINISHED})
    lost = frozenset({R.INFRASTRUCTURE})
    garbled = call_tools(("terminal", '{"command": "ls'))
    return [
        Fault("429 storm that passes", (*[fail(429)] * 3, done), passing),
        Fault("429 storm that does not", (fail(429),), lost),
        Fault("500 once", (fail(500), done), passing),
        Fault("500 always", (fail(500),), lost),
        Fault("hang once", (hang(), done), passing, IMPATIENT),
        Fault("hang always", (hang(),), lost, IMPATIENT),
        Fault("hang past the wall clock", (hang(),), frozenset({R.WALL_CLOCK}), QUICK, 3.0),
        Fault("answer cut once", (body(b'{"choices": [{"mes'), done), passing),
        Fault("answer cut always", (body(b'{"choices": [{"mes'),), lost),
        Fault("empty choices once", (EMPTY, done), passing),
        Fault("empty choices always", (EMPTY,), lost),
        Fault("no key", (fail(401),), lost),
        Fault("context full", (fail(400, "maximum context length"),), frozenset({R.TOKEN_CAP})),
        Fault("malformed tool call once", (garbled, done), passing),
        Fault(
            "malformed tool calls always",
            (garbled,),
            frozenset({R.TURN_CAP, R.STUCK, R.AGENT_ERROR}),
        ),
    ]


def attempt(folder: Path, agent: str, fault: Fault, **options: object) -> Attempt:
    """One attempt of an agent on a real instance, with such an endpoint."""
    with Scripted(*fault.steps).serve() as upstream:
        chosen = instances(1)
        order = work_order("faults", agent, chosen, endpoint=upstream.endpoint, options=options)
        budget = Budget(turns=6, wall_clock_seconds=fault.seconds)
        config = order.config.model_copy(update={"gateway": fault.options, "budget": budget})
        with executor("local", order.model_copy(update={"config": config})) as worker:
            made = worker.make(Job(instance_id=chosen[0].instance_id, seed=0), folder / "attempt")
    for row in read_calls(folder / "attempt" / "calls.parquet"):
        assert row.status != "answered" or row.ids_from == "endpoint"
    return made


@pytest.mark.parametrize("fault", faults(say(SUBMIT)), ids=str)
def test_mini(tmp_path: Path, fault: Fault) -> None:
    made = attempt(tmp_path, "mini", fault, prompt="standard")
    assert made.stop_reason in fault.ends, made.detail
    assert made.tries == (3 if R.INFRASTRUCTURE in fault.ends else 1)


# What differs from mini: starting OpenHands takes seconds, and the gateway is the same.
OPENHANDS = [
    fault
    for fault in faults(call_tools(("finish", '{"message": "Done."}')))
    if fault.name.startswith(("429 storm that passes", "500 always", "context", "malformed"))
    or fault.name == "hang past the wall clock"
]


@pytest.mark.slow
@pytest.mark.parametrize("fault", OPENHANDS, ids=str)
def test_openhands(tmp_path: Path, fault: Fault) -> None:
    pytest.importorskip("uv", reason="the toolchain is built with uv")
    made = attempt(tmp_path, "openhands", fault, prompt="standard")
    assert made.stop_reason in fault.ends, made.detail
    assert made.tries == (3 if R.INFRASTRUCTURE in fault.ends else 1)
