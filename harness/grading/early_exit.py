"""Stop an evaluation as soon as its verdict cannot change.

One failed FAIL_TO_PASS or PASS_TO_PASS test decides: the attempt is unresolved, whatever the
others do. pytest prints its statuses at the end, so a plugin in the sandbox stops the session
there; the runners of Django and SymPy print as they go, so their output is watched from outside.
"""

import json
import re
from importlib import resources

from harness.grading.eval_script import EvalPlan
from harness.records import Instance

_STREAMED = {
    "parse_log_django": re.compile(rb"^(.+?) \.\.\. (?:FAIL|ERROR)\s*$"),
    "parse_log_sympy": re.compile(rb"^(test_\S+)(?: .*)? [FE]$"),
}
_MAX_LINE = 64 * 1024
STOPPED = "the verdict is decided: "  # printed by the plugin


class OutputWatcher:
    """Reads a test command's output as it arrives and says when the verdict is decided."""

    def __init__(self, instance: Instance, plan: EvalPlan) -> None:
        # SymPy's names are unique within a file only.
        one_file = len(plan.test_files) + len(plan.new_test_files) == 1
        streamed = instance.log_parser != "parse_log_sympy" or one_file
        self._pattern = _STREAMED.get(instance.log_parser or "") if streamed else None
        self._deciding = {
            test.encode() for test in (*instance.FAIL_TO_PASS, *instance.PASS_TO_PASS)
        }
        self._rest = b""
        self.decided_by: str | None = None

    @property
    def useful(self) -> bool:
        """Whether this instance's runner prints statuses as it goes."""
        return self._pattern is not None

    def __call__(self, chunk: bytes) -> bool:
        """Take the next piece of output; True as soon as a deciding test has failed."""
        if self._pattern is None:
            return False
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        self._rest = self._rest[-_MAX_LINE:]
        for line in lines:
            match = self._pattern.match(line.strip())
            if match and match[1] in self._deciding:
                self.decided_by = match[1].decode()
                return True
        return False


def plugin_files(instance: Instance) -> dict[str, bytes]:
    """The files that make pytest stop early, by name, for one folder of the sandbox.

    Only node ids without white space are watched: the official parsers cut the others, so that
    several tests share one name.
    """
    deciding = [
        test
        for test in (*instance.FAIL_TO_PASS, *instance.PASS_TO_PASS)
        if "::" in test and not re.search(r"\s", test)
    ]
    source = resources.files("harness.grading").joinpath("pytest_stop.py").read_bytes()
    return {
        "harness_pytest_stop.py": source,
        "deciding.json": json.dumps(deciding).encode(),
    }


def plugin_environment(plan: EvalPlan, folder: str) -> dict[str, str]:
    """What makes pytest load the plugin; empty when the test command is not pytest itself."""
    if not plan.runs_pytest:
        return {}
    return {"PYTEST_ADDOPTS": "-p harness_pytest_stop", "PYTHONPATH": folder}
