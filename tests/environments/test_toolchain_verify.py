"""What verifying says of a toolchain that is not right."""

import json
from pathlib import Path
from typing import Any, cast

import pytest

from harness.environments.toolchain import Toolchain, read_toolchain
from harness.environments.toolchain_tree import seal
from harness.environments.toolchain_verify import ToolchainCheck, probe, verify_toolchain
from harness.sandboxes.base import ExecResult, Sandbox
from tests.environments.toolchain_bench import fill

WELL: dict[str, Any] = {
    "versions": {
        "openhands-sdk": "1.58.0",
        "openhands-tools": "1.58.0",
        "openhands-agent-server": "1.58.0",
        "python": "3.13.5",
    },
    "seconds": 1.5,
    "cpu_seconds": 1.2,
    "memory_mib": 250,
    "foreign_libraries": [],
    "writable": False,
    "tmux": "alive",
    "image_libc": "glibc 2.31\n",
}


@pytest.fixture
def small(tmp_path: Path) -> Toolchain:
    root = fill(tmp_path / "tree")
    seal(root)
    return read_toolchain(root)


def probed(toolchain: Toolchain, output: str, exit_code: int = 0) -> ToolchainCheck:
    """The check of a sandbox in which the probe says `output`."""

    class Answers:
        def exec(self, *_: object, **options: object) -> ExecResult:
            assert b"def main" in cast(bytes, options["stdin"])
            return ExecResult(
                exit_code=exit_code,
                output=output.encode(),
                output_bytes=len(output),
                truncated=False,
                timed_out=False,
                seconds=1.0,
            )

    return probe(cast(Sandbox, Answers()), toolchain, "here")


def test_a_toolchain_that_starts_has_figures_and_no_problems(small: Toolchain) -> None:
    check = probed(small, f"a warning\n{json.dumps(WELL)}\n")
    assert check.problems == ()
    assert (check.seconds, check.memory_mib) == (1.5, 250)
    assert "glibc 2.31" in check.detail


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"versions": {"openhands-sdk": "1.58.1"}}, "openhands-sdk is 1.58.1, pinned is 1.58.0"),
        ({"foreign_libraries": ["/lib/libz.so.1"]}, "libraries of the image are used: /lib/libz"),
        ({"writable": True}, "/opt/oh is writable"),
        ({"tmux": "no server running"}, "tmux starts no session"),
    ],
)
def test_what_is_wrong_is_said(small: Toolchain, change: dict[str, Any], said: str) -> None:
    (problem,) = probed(small, json.dumps(WELL | change)).problems
    assert said in problem


def test_a_python_that_does_not_start_is_a_problem(small: Toolchain) -> None:
    check = probed(small, "Traceback\nModuleNotFoundError: no module named x\n", exit_code=1)
    assert check.problems == (
        "Python does not start (exit 1): ModuleNotFoundError: no module named x",
    )


def test_verify_names_changed_files_and_a_missing_interpreter(
    small: Toolchain, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///none")
    (small.root / "lib/python3.13/os.py").write_text("tampered")
    (small.root / "bin/python").unlink()
    report = verify_toolchain(small, on_progress=lambda line: None)
    hashed, process, docker = report.checks
    assert hashed.problems == ("bin/python is missing", "lib/python3.13/os.py was changed")
    assert process.problems or process.detail.startswith("not run")
    assert docker.problems == ()
    assert "no Docker engine answers" in docker.detail
    assert not report.ok
