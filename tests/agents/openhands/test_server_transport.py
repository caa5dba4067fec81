"""The agent-server as transport: whole attempts, and the same as by our own runner."""

from typing import Any

import pytest

from harness.records import Budget, StopReason
from tests.agents.openhands.conftest import Attempt, World
from tests.agents.openhands.gateway import FINISH, call, sh
from tests.agents.scripted_endpoint import Step, after

pytestmark = pytest.mark.slow

# What an agent can try with the server it runs in, and with the way out of it.
MEDDLE = r"""python3 - <<'EOF'
import os, socket

def ask(path, text):
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(20)
        connection.connect(path)
        connection.sendall(text)
        return connection.recv(100).split(b"\r")[0]

print("server:", ask("\0agent-server", b"GET /api/conversations/search HTTP/1.0\r\n\r\n"))
print("harness:", ask("/run/harness/agent.sock", b"x" * 64))
for pid in filter(str.isdigit, os.listdir("/proc")):
    if b"server.pyz" not in open(f"/proc/{pid}/cmdline", "rb").read():
        continue
    for name, look in (("environ", open), ("mem", open), ("fd", os.listdir)):
        try:
            look(f"/proc/{pid}/{name}")
            print("open:", name)
        except PermissionError:
            print("closed:", name)
EOF"""

CHANGE = call("file_editor", command="str_replace", path="/testbed/a.py", old_str="x", new_str="y")
REFUSED = {"status": 400, "body": {"error": {"code": "turn_cap", "message": "3 calls used up"}}}


def trajectory(run: Attempt) -> list[tuple[int, str]]:
    """Steps and kinds, without the notes of how it was held."""
    return [(event.step, event.kind) for event in run.events if event.kind != "note"]


@pytest.mark.parametrize(
    ("script", "options", "reason"),
    [
        ([sh("cat a.py; env"), "No tool.", CHANGE, FINISH], {}, StopReason.FINISHED),
        ([sh("ls", "Same.")], {}, StopReason.STUCK),
        ([sh("echo 1", "One."), sh("echo 2", "Two."), sh("echo 3")], {}, StopReason.TURN_CAP),
        (["A plain answer."], {"nudges": 1}, StopReason.AGENT_ERROR),
        ([sh("ls"), REFUSED], {}, StopReason.TURN_CAP),
    ],
)
def test_both_transports_make_the_same_trajectory(
    attempt: World, script: list[Step], options: dict[str, Any], reason: StopReason
) -> None:
    budget = Budget(turns=3 if reason is StopReason.TURN_CAP else 8)
    by_exec = attempt(*script, budget=budget, **options)
    by_server = attempt(*script, budget=budget, transport="server", **options)
    assert by_server.outcome.stop_reason is by_exec.outcome.stop_reason is reason
    assert trajectory(by_server) == trajectory(by_exec)
    assert by_server.texts("system") == by_exec.texts("system")
    assert by_server.texts("observation") == by_exec.texts("observation")
    assert by_server.outcome.patch == by_exec.outcome.patch
    assert by_server.outcome.usage == by_exec.outcome.usage
    assert by_server.gateway.requests == by_exec.gateway.requests


def test_the_wall_clock_interrupts_a_command(attempt: World) -> None:
    script = [sh("echo y > a.py", "Change."), sh("sleep 600", "Wait."), FINISH]
    run = attempt(*script, budget=Budget(wall_clock_seconds=6), transport="server")
    assert run.outcome.stop_reason is StopReason.WALL_CLOCK
    assert "+y\n" in run.outcome.patch
    assert run.texts("action")[-1] == "terminal: sleep 600"
    assert run.events[-1].seconds < 60


def test_the_wall_clock_interrupts_a_model_call(attempt: World) -> None:
    run = attempt(after(30, FINISH), budget=Budget(wall_clock_seconds=3), transport="server")
    assert run.outcome.stop_reason is StopReason.WALL_CLOCK


def test_an_agent_that_kills_its_server_has_failed(attempt: World) -> None:
    script = [sh("echo y > a.py"), sh("kill -9 $PPID", "End it."), FINISH]
    run = attempt(*script, transport="server")
    assert run.outcome.stop_reason is StopReason.AGENT_ERROR
    assert "exit code" in run.outcome.detail
    assert "+y\n" in run.outcome.patch


def test_an_agent_cannot_speak_for_its_server(attempt: World) -> None:
    run = attempt(sh(MEDDLE), FINISH, transport="server")
    assert run.outcome.stop_reason is StopReason.FINISHED
    seen = run.texts("observation")[0]
    assert "server: b'HTTP/1.1 401 Unauthorized'" in seen
    assert "harness: b''" in seen
    assert "closed: environ\nclosed: mem\nclosed: fd" in seen.replace("\r", "")
    assert "open: " not in seen
