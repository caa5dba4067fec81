"""Take an instance's official evaluation script apart into what runs when.

The script activates the environment, prints the repository's state, installs the package, restores
and patches the test files, runs the tests between two markers, and restores the test files. Here
the tests run in a command of their own, so that their output needs no marker inside the sandbox.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from unidiff.patch import PatchSet

from harness.records import Instance

_START = re.compile(r"^: '>>>>> Start Test Output'$", re.M)
_END = re.compile(r"^: '>>>>> End Test Output'$", re.M)
_HEREDOC = re.compile(
    r"^git apply [^\n]*<<'(?P<tag>EOF_\w+)'\n(?P<patch>.*?)\n(?P=tag)$", re.M | re.S
)
_SHELL_STATE = re.compile(r"^(source|\.|conda|cd|export|unset|ulimit|umask)\s|^[A-Za-z_]\w*=")
_CHATTER = re.compile(r"^git (status|show|-c core\.fileMode=false diff [0-9a-f]+)$")
_RESTORE = re.compile(r"^git checkout [0-9a-f]{40}\b")
_INSTALL = re.compile(
    r"""^python\s(-m\spip\sinstall\s(.*\s)?(-e\s*)?['"]?\.(\[[^\]]*\])?['"]?(\s|$)|setup\.py\s)"""
)


class EvalScriptError(ValueError):
    """An evaluation script has an unknown shape."""


@dataclass(frozen=True)
class EvalPlan:
    """What an evaluation runs, in order: `setup`, the test patch, then `tests`.

    `shell_state` are the lines of `setup` that a new shell needs before the tests.
    """

    setup: tuple[str, ...]
    shell_state: tuple[str, ...]
    test_patch: str
    test_files: tuple[str, ...]
    new_test_files: tuple[str, ...]
    tests: str

    @property
    def runs_pytest(self) -> bool:
        """Whether the test command is pytest itself (not a wrapper that filters its options)."""
        return bool(re.match(r"(\w+=\S+ )*pytest\s", self.tests))


def plan_evaluation(instance: Instance) -> EvalPlan:
    """Take the instance's evaluation script apart.

    Raises EvalScriptError naming the instance and what is missing.
    """
    script = instance.eval_script or ""
    start, end = _START.search(script), _END.search(script)
    if not start or not end or end.start() < start.end():
        raise EvalScriptError(
            f"{instance.instance_id}: eval_script has no '>>>>> Start Test Output' and "
            "'>>>>> End Test Output' markers in that order"
        )
    before, tests = script[: start.start()], script[start.end() : end.start()].strip()
    if not tests:
        raise EvalScriptError(f"{instance.instance_id}: eval_script runs no test command")
    heredoc = _HEREDOC.search(before)
    test_patch = heredoc["patch"] + "\n" if heredoc else instance.test_patch
    lines = [line for line in _HEREDOC.sub("", before).splitlines() if line.strip()]
    setup = [
        line
        for line in lines
        if not (line.startswith(("#!", "set -")) or _CHATTER.match(line) or _RESTORE.match(line))
    ]
    files = PatchSet(test_patch)
    return EvalPlan(
        setup=_unique(setup),
        shell_state=_unique(line for line in setup if _SHELL_STATE.match(line)),
        test_patch=test_patch,
        test_files=tuple(f.path for f in files if not f.is_added_file),
        new_test_files=tuple(f.path for f in files if f.is_added_file),
        tests=tests,
    )


def _unique(lines: Iterable[str]) -> tuple[str, ...]:
    """Scripts select the environment twice; once is enough, at its first place."""
    return tuple(dict.fromkeys(lines))


def installs_work_tree(line: str) -> bool:
    """Whether a set-up line installs the package in the work tree, editable or not."""
    return bool(_INSTALL.match(line))
