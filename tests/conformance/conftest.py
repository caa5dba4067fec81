"""Fixtures of the sandbox contract: every test runs on every kind."""

import itertools
import uuid
from collections.abc import Callable, Iterator

import pytest

from harness.sandboxes.base import MIB, Bind, ExecResult, Limits, Sandbox
from harness.sandboxes.host import processes_with_argument
from tests.conformance.sandbox_kinds import Kind, docker_kind, process_kind

LIMITS = Limits(memory_bytes=256 * MIB, pids=64, output_bytes=64 * 1024)


@pytest.fixture(
    scope="session", params=["process", pytest.param("docker", marks=pytest.mark.docker)]
)
def kind(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Kind]:
    """One kind of sandbox; nothing of it may be left in the end."""
    if request.param == "process":
        kind = process_kind(tmp_path_factory.mktemp("process"))
    else:
        kind = docker_kind()
    yield kind
    assert kind.left(kind.owner) == []


@pytest.fixture
def start(kind: Kind) -> Iterator[Callable[..., Sandbox]]:
    """Starts sandboxes that are closed after the test."""
    started: list[Sandbox] = []

    def start(*binds: Bind, limits: Limits = LIMITS) -> Sandbox:
        started.append(
            kind.provider.start(kind.image, limits=limits, owner=kind.owner, binds=binds)
        )
        return started[-1]

    yield start
    for sandbox in started:
        sandbox.close()


@pytest.fixture
def sandbox(start: Callable[..., Sandbox]) -> Sandbox:
    """A fresh sandbox."""
    return start()


@pytest.fixture
def run(sandbox: Sandbox) -> Callable[..., ExecResult]:
    """Runs a command in the fresh sandbox, for 30 seconds at most."""

    def run(command: str, timeout: float = 30, **options: object) -> ExecResult:
        return sandbox.exec(command, timeout=timeout, **options)  # type: ignore[arg-type]

    return run


@pytest.fixture
def seconds() -> int:
    """A number for `sleep` by which its process is found among all processes of the machine."""
    return 10**6 + uuid.uuid4().int % 10**9


@pytest.fixture
def running() -> Callable[[int], int]:
    """How many sleeps of a number of seconds run on the machine."""

    def running(seconds: int) -> int:
        found = itertools.chain.from_iterable(
            processes_with_argument(program, str(seconds)) for program in ("sleep", "bash", "sh")
        )
        return len(list(found))

    return running
