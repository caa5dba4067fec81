"""Whether two mathematical answers mean the same, asked of worker processes."""

import importlib.metadata
import json
import re
import subprocess
import sys
import threading
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from harness.records import Record
from harness.suites.errors import SuiteError

SECONDS = 10.0  # of CPU time
MEMORY_BYTES = 2 * 1024**3
_INTEGER = re.compile(r"[+-]?\d{1,1000}")
_MARKED = re.compile(r"\\(?:text|mathrm|textbf|mathbf)\s*\{([^{}]*)\}")
_WORKER = Path(__file__).with_name("math_worker.py")


class Comparison(Record):
    """What a comparison says. `reads` names what could not be read, if anything."""

    same: bool
    reads: Literal["both", "no reference", "no answer"] = "both"
    over_limit: bool = False


class MathJudge:
    """Compares answers by math-verify in a process without secrets, limited in time and memory.

    A context manager; safe to use from several threads, which wait for each other: a comparison
    takes milliseconds, starting the process a second.
    """

    def __init__(self, *, seconds: float = SECONDS, memory_bytes: int = MEMORY_BYTES) -> None:
        self._limits = (str(seconds), str(memory_bytes))
        self._worker: subprocess.Popen[str] | None = None
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the process."""
        with self._lock:
            self._end()

    @property
    def pid(self) -> int | None:
        """Of the process, while there is one."""
        return self._worker.pid if self._worker else None

    def compare(self, gold: str, answer: str) -> Comparison:
        """Compare an answer with the reference: equal texts and integers here, all else there.

        Raises SuiteError when math-verify is missing.
        """
        texts = squeezed(gold), squeezed(answer)
        if texts[0] == texts[1]:
            return Comparison(same=True)
        if all(map(_INTEGER.fullmatch, texts)):
            return Comparison(same=int(texts[0]) == int(texts[1]))
        request = json.dumps({"gold": gold, "answer": answer}) + "\n"
        with self._lock:
            worker = self._worker or self._start()
            assert worker.stdin is not None
            assert worker.stdout is not None
            try:
                worker.stdin.write(request)
                worker.stdin.flush()
                line = worker.stdout.readline()
            except OSError:
                line = ""
            if not line.endswith("\n"):  # a limit ended it
                self._end()
                return Comparison(same=False, over_limit=True)
        said = json.loads(line)
        reads: Literal["both", "no reference", "no answer"] = "both"
        if not said["gold"]:
            reads = "no reference"
        elif not said["answer"]:
            reads = "no answer"
        return Comparison(same=said["same"], reads=reads)

    def _start(self) -> "subprocess.Popen[str]":
        version()
        self._worker = worker = subprocess.Popen(
            [sys.executable, "-sP", str(_WORKER), *self._limits],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={"PYTHONHASHSEED": "0", "OMP_NUM_THREADS": "1"},
            text=True,
            start_new_session=True,  # Ctrl-C is for the harness
        )
        assert worker.stdout is not None
        if worker.stdout.readline() != "{}\n":
            self._end()
            raise SuiteError(
                f"math-verify does not start (exit code {worker.returncode}): "
                "pip install 'swe-harness[questions]'"
            )
        return worker

    def _end(self) -> None:
        worker, self._worker = self._worker, None
        if worker is not None:
            worker.kill()
            worker.communicate()


def squeezed(text: str) -> str:
    """A text without white space, sizes of brackets and marks of text, in lower case."""
    text = _MARKED.sub(r"\1", text.replace(r"\left", "").replace(r"\right", ""))
    return re.sub(r"[\s$]|\\[,;!: ]", "", text).casefold()


def version() -> str:
    """math-verify's version. Raises SuiteError when it is missing."""
    if find_spec("math_verify") is None:
        raise SuiteError(
            "mathematical answers need math-verify: pip install 'swe-harness[questions]'"
        )
    return importlib.metadata.version("math-verify")
