"""Early exit never changes a verdict."""

from hypothesis import given
from hypothesis import strategies as st

from harness.grading import official
from harness.grading.early_exit import OutputWatcher
from harness.grading.eval_script import plan_evaluation
from harness.records import Instance
from tests.conftest import EVAL_SCRIPT, make_instance

TESTS = [f"test_{name} (app.tests.T)" for name in "abcdef"]
HOW = ["ok", "FAIL", "ERROR", "skipped 'x'"]


def _django(**changes: object) -> Instance:
    defaults = {
        "log_parser": "parse_log_django",
        "FAIL_TO_PASS": TESTS[:2],
        "PASS_TO_PASS": TESTS[2:5],
        "eval_script": EVAL_SCRIPT.replace("pytest -rA", "./tests/runtests.py"),
    }
    return make_instance(**(defaults | changes))


def _resolved(instance: Instance, output: str) -> bool:
    report = official.judge_log(instance, output, None)
    lists = official.judge_statuses(instance, report.statuses)
    return report.resolved and not any(group["failure"] for group in lists.values())


@given(
    outcomes=st.lists(st.sampled_from(HOW), min_size=6, max_size=6),
    chunk=st.integers(1, 200),
)
def test_a_stopped_stream_has_the_verdict_of_the_whole(outcomes: list[str], chunk: int) -> None:
    instance = _django()
    log = "".join(f"{test} ... {how}\n" for test, how in zip(TESTS, outcomes, strict=True))
    watcher = OutputWatcher(instance, plan_evaluation(instance))
    seen = ""
    for start in range(0, len(log), chunk):
        piece = log[start : start + chunk]
        seen += piece
        if watcher(piece.encode()):
            break
    assert _resolved(instance, seen) == _resolved(instance, log)
    decided = any(how in ("FAIL", "ERROR") for how in outcomes[:5])
    assert (watcher.decided_by is not None) == decided


def test_failures_that_decide_nothing_do_not_stop() -> None:
    instance = _django()
    watcher = OutputWatcher(instance, plan_evaluation(instance))
    assert not watcher(b"test_f (app.tests.T) ... FAIL\ntest_other (app.T) ... ERROR\n")


def test_sympy_is_watched_when_one_file_runs() -> None:
    instance = make_instance(log_parser="parse_log_sympy", FAIL_TO_PASS=["test_x"], PASS_TO_PASS=[])
    watcher = OutputWatcher(instance, plan_evaluation(instance))
    assert watcher.useful
    assert not watcher(b"test_y F\ntest_x ok\n")
    assert watcher(b"test_x F\n")


def test_an_endless_line_is_not_kept() -> None:
    instance = _django()
    watcher = OutputWatcher(instance, plan_evaluation(instance))
    for _ in range(100):
        assert not watcher(b"x" * 65536)
    assert len(watcher._rest) <= 65536
    assert watcher(b"\ntest_a (app.tests.T) ... FAIL\n")
