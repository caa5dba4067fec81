"""What agent and gateway say of an attempt's end, brought together."""

import pytest

from harness.gateway import DoorReport
from harness.records import ModelCalls, Outcome, StopReason, Usage
from harness.rollouts.work import settled

R = StopReason


@pytest.mark.parametrize(
    ("agent", "gateway", "settles"),
    [
        (R.FINISHED, None, R.FINISHED),
        (R.FINISHED, R.TURN_CAP, R.FINISHED),
        (R.FINISHED, R.INFRASTRUCTURE, R.FINISHED),
        (R.AGENT_ERROR, None, R.AGENT_ERROR),
        (R.AGENT_ERROR, R.TURN_CAP, R.TURN_CAP),
        (R.AGENT_ERROR, R.TOKEN_CAP, R.TOKEN_CAP),
        (R.AGENT_ERROR, R.INFRASTRUCTURE, R.INFRASTRUCTURE),
        (R.WALL_CLOCK, R.TURN_CAP, R.WALL_CLOCK),
        (R.WALL_CLOCK, R.INFRASTRUCTURE, R.INFRASTRUCTURE),  # it waited for a failing endpoint
        (R.STUCK, R.TURN_CAP, R.STUCK),
    ],
)
def test_the_reason_of_an_end(agent: R, gateway: R | None, settles: R) -> None:
    report = DoorReport(
        usage=Usage(turns=4, tool_calls=1, generated_tokens=9),
        calls=ModelCalls(calls=5),
        ended=gateway,
        detail="the gateway's words",
    )
    outcome = Outcome(patch="p", stop_reason=agent, detail="own", usage=Usage(tool_calls=3))
    result = settled(outcome, report)
    assert result.stop_reason is settles
    assert result.patch == "p"
    assert result.usage == Usage(turns=4, tool_calls=3, generated_tokens=9)
    assert result.detail == ("own" if settles is agent else "the gateway's words")
