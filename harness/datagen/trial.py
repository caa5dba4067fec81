"""Run an instance's tests before and after its fix, as the benchmark does, and compare."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager

from harness.grading.official import parse
from harness.records import Instance, Record
from harness.sandboxes.base import Limits, Sandbox, SandboxProvider

_START, _END = "\n+ : '>>>>> Start Test Output'\n", "\n+ : '>>>>> End Test Output'\n"
_SECONDS = 300.0
_OWNER = "datagen"
_BROKEN = ("FAILED", "ERROR")
_AMBIGUOUS = "AMBIGUOUS"

Statuses = Mapping[str, str]


class TrialError(ValueError):
    """An instance is not fit for a suite; the message says why."""


class Lists(Record):
    """The test lists of an instance, and the tests that are in none since they were not steady."""

    fail_to_pass: tuple[str, ...]
    pass_to_pass: tuple[str, ...]
    unsteady: tuple[str, ...]


def run_tests(
    instance: Instance, image: str, provider: SandboxProvider, *, fixed: bool
) -> dict[str, str]:
    """Run the evaluation script in a fresh sandbox, with or without the fix; test to status.

    Raises TrialError when the fix does not apply or the script does not reach its end.
    """
    with _tree(instance, image, provider, fixed=fixed) as sandbox:
        script = "/tmp/eval.sh"  # noqa: S108
        sandbox.write(script, (instance.eval_script or "").encode())
        result = sandbox.exec(["bash", script], timeout=_SECONDS)
    _, start, rest = result.text.partition(_START)
    output, end, _ = rest.partition(_END)
    if not start or not end or result.truncated:
        raise TrialError(
            f"{instance.instance_id}: the evaluation script did not run to its end: "
            f"{result.text[-1000:]}"
        )
    return _unambiguous(instance, output)


def _unambiguous(instance: Instance, output: str) -> dict[str, str]:
    """The official parser's statuses, with those apart that several tests share.

    It cuts a test's name at the first space, and of tests with the same name the last one counts.
    """
    lines = [test for line in output.splitlines() for test in parse(instance, line)]
    return {
        test: _AMBIGUOUS if lines.count(test) > 1 else status
        for test, status in parse(instance, output).items()
    }


def visible_failures(
    instance: Instance, image: str, provider: SandboxProvider, *, fixed: bool
) -> set[str]:
    """The tests of the whole tree, without the instance's own, that do not pass."""
    with _tree(instance, image, provider, fixed=fixed) as sandbox:
        result = sandbox.exec("pytest -rfE", timeout=_SECONDS)
    if result.timed_out or " passed" not in result.text:
        raise TrialError(
            f"{instance.instance_id}: the tree's tests do not run: {result.text[-500:]}"
        )
    return {test for test, status in parse(instance, result.text).items() if status in _BROKEN}


@contextmanager
def _tree(
    instance: Instance, image: str, provider: SandboxProvider, *, fixed: bool
) -> Iterator[Sandbox]:
    with provider.start(image, limits=Limits(), owner=_OWNER) as sandbox:
        if fixed:
            patch = instance.patch.encode()
            done = sandbox.exec(["git", "apply", "-v", "-"], timeout=60, stdin=patch)
            if done.exit_code != 0:
                raise TrialError(f"{instance.instance_id}: the fix does not apply: {done.text}")
        yield sandbox


def compare(
    instance_id: str,
    before: Sequence[Statuses],
    after: Sequence[Statuses],
    *,
    left_out: Collection[str] = (),
) -> Lists:
    """The test lists out of repeated runs without and with the fix, but for the tests left out.

    A test that ends differently in two runs of the same tree is unsteady, and so is a name that
    stands for several tests.
    Raises TrialError when no test shows the bug or one fails in spite of the fix.
    """
    fail_to_pass: list[str] = []
    pass_to_pass: list[str] = []
    unsteady: list[str] = []
    for test in sorted({test for run in (*before, *after) for test in run}):
        was = {run.get(test) for run in before}
        now = {run.get(test) for run in after}
        if test.partition("[")[0] in left_out:
            continue
        if len(was) > 1 or len(now) > 1 or _AMBIGUOUS in was | now:
            unsteady.append(test)
        elif now & set(_BROKEN) or now == {None}:
            raise TrialError(f"{instance_id}: {test} is {now.pop() or 'gone'} with the fix")
        elif now == {"PASSED"}:
            (pass_to_pass if was == {"PASSED"} else fail_to_pass).append(test)
    if not fail_to_pass:
        raise TrialError(f"{instance_id}: no test fails before the fix and passes after it")
    return Lists(
        fail_to_pass=tuple(fail_to_pass),
        pass_to_pass=tuple(pass_to_pass),
        unsteady=tuple(unsteady),
    )
