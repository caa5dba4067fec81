"""Attempts in containers: the agent is root there, without the capabilities of one."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.agents.openhands import OpenHandsAgent, OpenHandsOptions
from harness.environments.toolchain import Toolchain
from harness.records import Budget, Event, Outcome, StopReason
from harness.sandboxes.base import Limits, Sandbox, SandboxFailure
from harness.sandboxes.docker import DockerProvider
from tests.agents.openhands.gateway import FINISH, call, gateway, sh
from tests.agents.scripted_endpoint import after
from tests.conformance.sandbox_kinds import docker_image
from tests.conftest import make_instance

pytestmark = [pytest.mark.docker, pytest.mark.slow]

REPOSITORY = """
git init -q . && git config user.name a && git config user.email a@b
echo x >a.py && git add . && git commit -qm base && git rev-parse HEAD
"""
Run = Callable[..., tuple[Outcome, list[Event]]]


@pytest.fixture(scope="session")
def provider() -> DockerProvider:
    try:
        return DockerProvider()
    except SandboxFailure as failure:
        pytest.skip(str(failure))


@pytest.fixture
def running() -> list[str]:
    """The command lines in the container after each attempt."""
    return []


@pytest.fixture
def run(provider: DockerProvider, toolchain: Toolchain, tmp_path: Path, running: list[str]) -> Run:
    """Makes an attempt against a scripted model in a fresh container."""
    agent = OpenHandsAgent(OpenHandsOptions())

    def run(*script: Any, budget: Budget | None = None) -> tuple[Outcome, list[Event]]:
        events: list[Event] = []
        with gateway(*script) as served:
            binds = [*agent.binds("docker"), served.bind]
            with provider.start(
                docker_image(), limits=Limits(), owner="test-openhands", binds=binds
            ) as sandbox:
                outcome = agent.run(
                    make_instance(base_commit=base_commit(sandbox)),
                    sandbox=sandbox,
                    endpoint=served.endpoint,
                    budget=budget or Budget(),
                    seed=1,
                    emit=events.append,
                    logs=tmp_path,
                )
                running.append(sandbox.exec("cat /proc/[0-9]*/cmdline", timeout=60).text)
        return outcome, events

    return run


def base_commit(sandbox: Sandbox) -> str:
    sandbox.exec(["mkdir", "-p", "/testbed"], timeout=60, cwd="/")
    return sandbox.exec(REPOSITORY, timeout=60).text.strip()


def observations(events: list[Event]) -> list[str]:
    return [event.text for event in events if event.kind == "observation"]


def test_a_bug_is_fixed_and_nothing_goes_on_behind_its_end(run: Run, running: list[str]) -> None:
    change = call(
        "file_editor", command="str_replace", path="/testbed/a.py", old_str="x", new_str="y"
    )
    outcome, _ = run(change, sh("setsid sleep 987 & disown; pgrep -a sleep"), FINISH)
    assert outcome.stop_reason is StopReason.FINISHED
    assert "-x\n+y\n" in outcome.patch
    assert "cmdline" in running[0]
    assert "987" not in running[0]


def test_the_agent_sees_nothing_but_its_own(run: Run) -> None:
    looks = [
        sh("cat /proc/$PPID/environ /proc/$PPID/mem 2>&1 | head -3"),
        sh("ls /proc/$PPID/fd/ >/dev/null && readlink /proc/$PPID/fd/1"),
        sh("touch /opt/oh/x /run/harness/x; rm -rf /opt/oh/lib 2>&1 | head -1"),
        sh("ls /sys/class/net; id -u"),
        FINISH,
    ]
    outcome, events = run(*looks)
    assert outcome.stop_reason is StopReason.FINISHED
    seen = observations(events)
    assert "Permission denied" in seen[0]
    assert "pipe:" not in seen[1]
    assert seen[2].count("Read-only file system") == 3
    assert seen[3].split() == ["lo", "0"]


@pytest.mark.parametrize("kill", ["kill -9 $PPID", "kill -9 -1"])
def test_a_killed_runner_is_an_agent_error_and_the_patch_is_kept(run: Run, kill: str) -> None:
    outcome, _ = run(sh(f"echo y >a.py; {kill}; sleep 9"), FINISH)
    assert outcome.stop_reason is StopReason.AGENT_ERROR
    assert "+y" in outcome.patch


@pytest.mark.parametrize(
    "script",
    [
        [sh("echo y >a.py; sleep 3600", timeout=3600)],
        [sh("echo y >a.py"), after(120, FINISH)],
        [sh("echo y >a.py; trap '' INT TERM HUP; while :; do :; done", timeout=3600)],
    ],
)
def test_the_wall_clock_holds(run: Run, script: list[Any]) -> None:
    outcome, events = run(*script, budget=Budget(wall_clock_seconds=10))
    assert outcome.stop_reason is StopReason.WALL_CLOCK
    assert "+y" in outcome.patch
    assert events[-1].seconds < 100


def test_an_unreadable_repository_is_an_agent_error(run: Run) -> None:
    outcome, _ = run(sh("rm -rf .git"), FINISH)
    assert outcome.stop_reason is StopReason.AGENT_ERROR
    assert "unreadable" in outcome.detail
    assert outcome.patch == ""
