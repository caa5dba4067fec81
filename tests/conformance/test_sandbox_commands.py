"""Every kind of sandbox: commands, their limits, and their end."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from harness.sandboxes.base import MIB, ExecResult, ImageMissingError, Sandbox, SandboxFailure
from tests.conformance.conftest import LIMITS
from tests.conformance.sandbox_kinds import Kind

Run = Callable[..., ExecResult]


def test_exit_code_and_interleaved_output(run: Run) -> None:
    result = run("echo one; echo two >&2; echo three; exit 3")
    assert (result.exit_code, result.output) == (3, b"one\ntwo\nthree\n")
    assert (result.output_bytes, result.truncated, result.timed_out) == (14, False, False)


def test_a_command_that_kills_itself_has_the_shell_s_code(run: Run) -> None:
    assert run("kill -9 $$").exit_code == 137


def test_arguments_are_not_split(sandbox: Sandbox) -> None:
    result = sandbox.exec(["printf", "%s|", "a b", "$HOME", "", "-n"], timeout=30)
    assert result.output == b"a b|$HOME||-n|"


@pytest.mark.parametrize(
    ("command", "code"),
    [(["no-such-program"], 127), (["true\0"], 126), (["echo", "\ud800"], 126)],
)
def test_what_cannot_run_is_a_result(sandbox: Sandbox, command: list[str], code: int) -> None:
    assert sandbox.exec(command, timeout=30).exit_code == code


def test_an_endless_command_line_is_a_result(run: Run) -> None:
    result = run("true " + "x" * MIB)
    assert result.exit_code == 126
    assert b"over the limit" in result.output


def test_a_missing_folder_is_a_result(run: Run) -> None:
    assert run("true", cwd="/no/such").exit_code in (125, 126)


def test_folder_and_environment(run: Run) -> None:
    assert run("pwd").text == "/testbed\n"
    assert run("pwd; echo $A", cwd="/tmp", env={"A": "b c\nd\u00e9"}).text == "/tmp\nb c d\u00e9\n"


def test_the_harness_s_own_environment_is_not_seen(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET_KEY", "hidden")
    assert "hidden" not in run("env; cat /proc/*/environ").text


def test_stdin(run: Run) -> None:
    assert run("cat", stdin=bytes(range(256))).output == bytes(range(256))
    assert run("wc -c", stdin=b"x" * 10 * MIB).text.strip() == str(10 * MIB)
    assert run("true", stdin=b"x" * 10 * MIB).exit_code == 0
    assert run("cat").output == b""


def test_stdin_that_comes_back_at_once_does_not_lock(sandbox: Sandbox) -> None:
    result = sandbox.exec(["cat"], timeout=60, stdin=b"x" * 10 * MIB)
    assert (result.exit_code, result.output_bytes) == (0, 10 * MIB)


def test_files_stay_from_one_command_to_the_next(run: Run) -> None:
    run("echo here > /tmp/a; echo there > /testbed/b; echo home > ~/c")
    assert run("cat /tmp/a /testbed/b ~/c").text == "here\nthere\nhome\n"


def test_output_over_the_limit_keeps_head_and_tail(run: Run) -> None:
    result = run("seq 1000000")
    assert result.exit_code == 0
    assert result.truncated
    assert result.output_bytes == len("".join(f"{n}\n" for n in range(1, 1_000_001)))
    assert LIMITS.output_bytes - 100 < len(result.output) <= LIMITS.output_bytes
    assert result.output.startswith(b"1\n2\n")
    assert result.output.endswith(b"\n999999\n1000000\n")
    assert b" bytes cut ...]" in result.output


def test_a_gigabyte_of_output_takes_no_memory(run: Run) -> None:
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    before = _memory("VmRSS")
    result = run("head -c 1000000000 /dev/zero", timeout=120)
    assert (result.exit_code, result.output_bytes) == (0, 10**9)
    assert _memory("VmHWM") - before < 32 * MIB


def test_the_time_limit_kills_the_whole_tree(
    run: Run, seconds: int, running: Callable[[int], int]
) -> None:
    began = time.monotonic()
    result = run(
        f"""
        trap '' TERM INT HUP
        setsid -f sleep {seconds}
        (setsid bash -c "trap '' TERM; (sleep {seconds} >/dev/null 2>&1 </dev/null & )" & )
        nohup sleep {seconds} >/dev/null 2>&1 &
        echo began; sleep {seconds}
        """,
        timeout=2,
    )
    assert (result.exit_code, result.timed_out) == (None, True)
    assert result.output == b"began\n"
    assert running(seconds) == 0
    assert time.monotonic() - began < 20
    assert run("echo next").output == b"next\n"


@pytest.mark.parametrize("timeout", [0, 0.0001, 0.001, 0.01])
def test_the_time_limit_strikes_at_any_moment(
    run: Run, seconds: int, running: Callable[[int], int], timeout: float
) -> None:
    for _ in range(5):
        result = run(f"sleep {seconds}", timeout=timeout)
        assert (result.exit_code, result.timed_out) == (None, True)
        assert running(seconds) == 0


def test_a_command_that_closes_its_output_is_still_waited_for(run: Run) -> None:
    assert run("exec >&- 2>&-; sleep 1; touch /tmp/done; exit 4").exit_code == 4
    assert run("test -e /tmp/done").exit_code == 0


def test_a_command_that_closes_its_output_has_a_time_limit(
    run: Run, seconds: int, running: Callable[[int], int]
) -> None:
    result = run(f"exec >&- 2>&-; sleep {seconds}", timeout=2)
    assert (result.exit_code, result.timed_out) == (None, True)
    assert running(seconds) == 0


def test_what_runs_on_in_the_background_does_not_hold_the_result(run: Run, seconds: int) -> None:
    began = time.monotonic()
    result = run(f"sleep {seconds} & echo out", timeout=60)
    assert (result.exit_code, result.output, result.timed_out) == (0, b"out\n", False)
    assert time.monotonic() - began < 30


def test_the_caller_ends_a_command_by_its_output(
    run: Run, seconds: int, running: Callable[[int], int]
) -> None:
    seen = bytearray()

    def enough(chunk: bytes) -> bool:
        seen.extend(chunk)
        return b"enough" in seen

    result = run(f"echo some; sleep 0.2; echo enough; sleep {seconds}", on_output=enough)
    assert (result.exit_code, result.timed_out) == (None, False)
    assert result.output.startswith(b"some\nenough\n")
    assert running(seconds) == 0


def test_an_error_of_the_caller_ends_the_command(
    run: Run, seconds: int, running: Callable[[int], int]
) -> None:
    def fail(chunk: bytes) -> bool:
        raise LookupError(chunk)

    with pytest.raises(LookupError):
        run(f"echo out; sleep {seconds}", on_output=fail)
    assert running(seconds) == 0
    assert run("echo next").output == b"next\n"


def test_output_is_seen_as_it_arrives(run: Run) -> None:
    times: list[float] = []
    run(
        "for i in 1 2 3; do echo $i; sleep 0.5; done",
        on_output=lambda _: times.append(time.monotonic()),
    )
    assert times[-1] - times[0] > 0.5


def test_memory_over_the_limit_kills(run: Run) -> None:
    result = run("exec python3 -c 'import time; x = b\"1\" * 10**9; time.sleep(20)'")
    assert (result.exit_code, result.timed_out) == (137, False)
    assert run("echo next").output == b"next\n"


def test_memory_of_many_processes_counts_together(sandbox: Sandbox, run: Run) -> None:
    hold = """
import os, sys, time
open("/testbed/" + sys.argv[1], "w").close()
while len(os.listdir("/testbed")) < 12:
    time.sleep(0.02)
x = b"1" * 40_000_000
time.sleep(3)
print("survived")
"""
    sandbox.write("/tmp/hold.py", hold.encode())
    result = run("for i in $(seq 12); do python3 /tmp/hold.py $i & done; wait")
    assert result.text.splitlines().count("survived") < 12


@pytest.mark.parametrize("background", [False, True])
def test_a_fork_bomb_is_contained(sandbox: Sandbox, run: Run, background: bool) -> None:
    bomb = "bomb() { bomb | bomb & }; bomb"
    result = run(f"{bomb}; sleep 30" if not background else f"{bomb}; exit 0", timeout=5)
    assert result.timed_out is not background
    sandbox.write("/tmp/after", b"x" * MIB)
    assert run("wc -c </tmp/after").text.endswith(f"{MIB}\n")


def test_killing_everything_does_not_end_the_sandbox(run: Run) -> None:
    run("echo kept > /tmp/kept; kill -9 -1")
    assert run("cat /tmp/kept").text == "kept\n"


def test_a_sandbox_without_its_programs_gives_results(sandbox: Sandbox, run: Run) -> None:
    harms = ["rm -rf /tmp /testbed", "rm -f /bin/mktemp", "rm -f /bin/sh", "rm -rf /usr/bin /bin"]
    for harm in harms:
        run(f"{harm}; kill -9 -1")
        assert run("cat", stdin=b"x").exit_code is not None
        with suppress(OSError):
            sandbox.write("/tmp/x", b"x")


def test_no_rights_to_gain(run: Run) -> None:
    status = run("cat /proc/self/status").text
    assert "NoNewPrivs:\t1" in status
    for attempt in (
        "mount -t tmpfs none /tmp",
        "mknod /tmp/d b 8 0",
        "chroot /tmp",
        "unshare --mount true",
        "unshare --user true",
    ):
        assert run(attempt).exit_code != 0
    assert run("echo x > /proc/sys/kernel/core_pattern").exit_code != 0


def test_several_threads_and_sandboxes(kind: Kind) -> None:
    def work(number: int) -> str:
        with kind.provider.start(kind.image, limits=LIMITS, owner=kind.owner) as sandbox:
            sandbox.write("/testbed/number", str(number).encode())
            with ThreadPoolExecutor(2) as pool:
                texts = pool.map(lambda _: sandbox.exec("cat number", timeout=60).text, range(4))
            return " ".join([*texts, sandbox.read("/testbed/number").decode()])

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(work, range(8))) == [" ".join([str(n)] * 5) for n in range(8)]


def test_close_ends_everything_and_can_be_repeated(
    kind: Kind, seconds: int, running: Callable[[int], int]
) -> None:
    sandbox = kind.provider.start(kind.image, limits=LIMITS, owner=kind.owner)
    failures: list[Exception] = []
    began = threading.Event()

    def on_output(chunk: bytes) -> bool:
        began.set()
        return False

    def long() -> None:
        try:
            sandbox.exec(
                f"setsid -f sleep {seconds}; echo began; sleep {seconds}",
                timeout=600,
                on_output=on_output,
            )
        except SandboxFailure as failure:
            failures.append(failure)

    thread = threading.Thread(target=long)
    thread.start()
    assert began.wait(30)
    sandbox.close()
    thread.join(30)
    assert not thread.is_alive()
    assert len(failures) == 1
    assert running(seconds) == 0
    sandbox.close()
    with pytest.raises(SandboxFailure, match="closed"):
        sandbox.exec("true", timeout=30)


def test_a_missing_image(kind: Kind) -> None:
    with pytest.raises(ImageMissingError, match="no-such-image"):
        kind.provider.start(
            "/no-such-image" if kind.state else "no-such-image", limits=LIMITS, owner="x"
        )


def test_the_digest_is_that_of_the_image(kind: Kind, sandbox: Sandbox) -> None:
    assert sandbox.image_digest == kind.provider.digest(kind.image)
    assert sandbox.image_digest.startswith("sha256:")


def test_nothing_leaks_in_the_harness(kind: Kind) -> None:
    def use() -> None:
        with kind.provider.start(kind.image, limits=LIMITS, owner=kind.owner) as sandbox:
            sandbox.exec("cat", timeout=30, stdin=b"x")
            sandbox.exec("sleep 60", timeout=0.2)
            sandbox.exec("yes", timeout=30, on_output=lambda _: True)
            sandbox.write("/testbed/a", b"a")

    use()
    descriptors, threads = _descriptors(), threading.active_count()
    for _ in range(4):
        use()
    assert _descriptors() - descriptors < 4  # connections that are kept are not one for each use
    assert threading.active_count() - threads < 4
    assert _children() == ""


def _memory(name: str) -> int:
    line = next(li for li in Path("/proc/self/status").read_text().splitlines() if name in li)
    return int(line.split()[1]) * 1024


def _descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def _children() -> str:
    return Path("/proc/thread-self/children").read_text()
