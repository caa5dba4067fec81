"""Run in a package's sandbox: which functions each test executes, and what edits do to the tests.

    python -m harness.datagen.edit_bugs_worker survey OUT <settings   the clean tree's tests
    python -m harness.datagen.edit_bugs_worker try <settings          a JSON line for each job

pytest and what the tests import are loaded once; each run is a fork of that process, with limits,
and the tree is put back after it. Standard library and pytest only: of the harness, this file and
`edit_bugs_recorder.py` are all that is here.
"""

import contextlib
import gc
import importlib
import importlib.util
import json
import os
import resource
import select
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from harness.datagen.edit_bugs_recorder import Recorder

TREE = os.environ.get("EDIT_BUGS_TREE", "/testbed")
SCRATCH = os.environ.get("EDIT_BUGS_SCRATCH", "/tmp/edit-bugs")  # noqa: S108
MEMORY_BYTES = 3 << 30
FILE_BYTES = 64 << 20
NOTHING: dict[str, Any] = {"passed": [], "failed": [], "errors": {}, "wide": False, "code": -1}
OPTIONS = ["-q", "-p", "no:cacheprovider", "--tb=no"]

Files = dict[Path, tuple[int, int, int]]
Contents = dict[Path, bytes]


def in_fork(
    work: Callable[[], dict[str, Any]], cpu_seconds: int, seconds: float
) -> tuple[dict[str, Any] | None, str, float]:
    """What `work` returns in a fork of this process, why it does not, and its CPU seconds."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        os.setsid()
        with contextlib.suppress(BaseException):
            confine(cpu_seconds)
            with os.fdopen(writer, "w") as file:
                json.dump(work(), file)
        os._exit(0)
    os.close(writer)
    data, deadline, why = b"", time.monotonic() + seconds, "crash"
    while True:
        left = deadline - time.monotonic()
        if left <= 0 or not select.select([reader], [], [], left)[0]:
            why = "hang"
            break
        chunk = os.read(reader, 1 << 20)
        if not chunk:
            break
        data += chunk
    os.close(reader)
    with contextlib.suppress(OSError):
        os.killpg(child, signal.SIGKILL)
    with contextlib.suppress(OSError):
        os.kill(child, signal.SIGKILL)
    _, status, usage = os.wait4(child, 0)
    cpu = usage.ru_utime + usage.ru_stime
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGXCPU:
        why = "hang"
    try:
        return json.loads(data), "", cpu
    except ValueError:
        return None, why, cpu


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Nothing is printed meanwhile."""
    kept = {descriptor: os.dup(descriptor) for descriptor in (1, 2)}
    silence()
    try:
        yield
    finally:
        for descriptor, copy in kept.items():
            os.dup2(copy, descriptor)
            os.close(copy)


def silence() -> None:
    """No input, and no output."""
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    os.close(null)


def confine(cpu_seconds: int) -> None:
    """Silence this process and bound what it may use."""
    silence()
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_FSIZE, (FILE_BYTES, FILE_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_seconds, cpu_seconds + 5))
    shutil.rmtree(SCRATCH, ignore_errors=True)
    Path(SCRATCH).mkdir(parents=True)
    os.environ["TMPDIR"] = os.environ["HOME"] = SCRATCH
    os.chdir(TREE)


def session(arguments: list[str], recorder: Recorder) -> int:
    """A pytest session in this process, as `pytest` in the tree runs one."""
    sys.argv = ["pytest", *arguments]
    options = [*OPTIONS, f"--basetemp={SCRATCH}/pytest"]
    if importlib.util.find_spec("pytest_cov"):
        options.append("--no-cov")  # its report takes longer than most tests
    code = int(pytest.main([*options, *arguments], [recorder]))
    sys.setprofile(None)
    threading.setprofile(None)
    return code


def survey(settings: dict[str, Any], out: str) -> None:
    """The tests that pass in every run, with their functions and definitions."""
    arguments = settings["arguments"]

    def first() -> dict[str, Any]:
        recorder = Recorder(profiled=True)
        session(arguments, recorder)
        return {
            **recorder.results(),
            "functions": {
                test: sorted(recorder.functions.get(test, ())) for test in recorder.passed
            },
            "imported": sorted(recorder.imported),
            "defined": recorder.defined,
            "modules": sorted(outside()),
        }

    def more() -> dict[str, Any]:
        recorder = Recorder()
        session(arguments, recorder)
        return recorder.results()

    limits = settings["cpu"], settings["seconds"]
    found, why, cpu = in_fork(first, *limits)
    passed = [set(found["passed"])] if found else []
    for _ in range(settings["runs"] - 1 if found else 0):
        again, why, cpu = in_fork(more, *limits)
        passed += [set(again["passed"])] if again else []
    if found is None or len(passed) < settings["runs"]:
        sys.exit(f"the clean tree's tests do not run to their end: {why}")
    steady = set.intersection(*passed)
    tests = {
        test: {"functions": found["functions"][test], "defined": found["defined"].get(test)}
        for test in sorted(steady)
    }
    with Path(out).open("w") as file:
        json.dump(
            {
                "tests": tests,
                "unsteady": sorted(set.union(*passed) - steady),
                "imported": found["imported"],
                "modules": found["modules"],
                "seconds": cpu,
            },
            file,
        )


def outside() -> Iterator[str]:
    """Names of the loaded modules that are none of the tree's."""
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None) or ""
        if file and not file.startswith(TREE + "/") and name != "__main__":
            yield name


def files() -> Files:
    """Each file of the tree but compiled ones, with mode, size and time."""
    found = {}
    for folder, folders, names in os.walk(TREE):
        folders[:] = [name for name in folders if name not in ("__pycache__", ".pytest_cache")]
        for path in (Path(folder, name) for name in names):
            facts = path.lstat()
            found[path] = (facts.st_mode, facts.st_size, facts.st_mtime_ns)
    return found


def put_back(clean: Files, contents: Contents) -> None:
    """Make the tree what it was."""
    now = files()
    for path in now.keys() - clean.keys():
        path.unlink()
    for path, facts in clean.items():
        if now.get(path) != facts:
            path.unlink(missing_ok=True)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(contents[path])
            path.chmod(facts[0] & 0o777)
            os.utime(path, ns=(facts[2], facts[2]))


class Trial:
    """The tests of one job's changes. `fork` runs some of them, in a tree that is put back."""

    def __init__(self, settings: dict[str, Any], job: dict[str, Any], contents: Contents) -> None:
        self._settings, self._job = settings, job
        self._clean, self._contents = files(), contents
        self._texts: Contents = {}
        for change in job["changes"]:  # each file's from its end to its beginning
            path = Path(TREE, change["path"])
            whole = self._texts.get(path, contents[path])
            text = change["text"].encode()
            self._texts[path] = whole[: change["start"]] + text + whole[change["end"] :]

    def fork(self, tests: Sequence[str], most: int) -> tuple[dict[str, Any] | None, str, float]:
        number = self._job["number"]
        for path, data in self._texts.items():
            path.write_bytes(data)
            os.utime(path, (number, number))  # of no other version: compiled files tell by it
        settings = self._settings
        result = in_fork(
            lambda: tested(tests, most, settings["places"]), settings["cpu"], settings["seconds"]
        )
        put_back(self._clean, self._contents)
        return result

    def line(self) -> dict[str, Any]:
        """What the job's tests say."""
        found, why, cpu = self.fork(self._job["tests"], self._settings["most"])
        again = None
        if found and self._job["repeat"] and not found["wide"] and found["code"] in (0, 1):
            of = found["failed"] if self._job["changes"] else self._job["tests"]
            again, why, more = self._repeat({test.partition("::")[0] for test in of})
            cpu += more
        whole = {"stopped": why, "seconds": round(cpu, 3), **(found or NOTHING)}
        return {"number": self._job["number"], "again": again, **whole}

    def _repeat(self, paths: set[str]) -> tuple[dict[str, list[str]] | None, str, float]:
        """How all known tests of some files end in each of as many runs as the job says."""
        tests = [test for test in self._settings["places"] if test.partition("::")[0] in paths]
        passed, failed, total = [], [], 0.0
        for _ in range(self._job["repeat"] if tests else 0):
            found, why, cpu = self.fork(tests, 0)
            total += cpu
            if found is None:
                return None, why, total
            passed.append(set(found["passed"]))
            failed.append(set(found["failed"]))
        if not passed:
            return None, "", total
        always = set.intersection(*passed), set.intersection(*failed)
        return (
            {
                "passed": sorted(always[0]),
                "failed": sorted(always[1]),
                "unsteady": sorted(set(tests) - always[0] - always[1]),
            },
            "",
            total,
        )


def tested(tests: Sequence[str], most: int, places: dict[str, Any]) -> dict[str, Any]:
    """A session with these tests alone, in a process that ends after it."""
    sys.dont_write_bytecode = True
    recorder = Recorder(set(tests), most, places)
    code = session(sorted({test.partition("::")[0] for test in tests}), recorder)
    for thread in threading.enumerate():  # a process that waits for it does not end
        if thread is not threading.current_thread() and not thread.daemon:
            thread.join()
    return {**recorder.results(), "code": code}


def try_jobs(settings: dict[str, Any]) -> None:
    """Run the tests of each job; print one line for each."""
    with quiet():
        for name in settings["modules"]:
            with contextlib.suppress(BaseException):
                importlib.import_module(name)
    contents = {path: path.read_bytes() for path in files()}
    gc.collect()
    gc.freeze()  # a collection in a fork would copy what it only looks at
    for job in settings["jobs"]:
        print(json.dumps(Trial(settings, job, contents).line()), flush=True)


if __name__ == "__main__":
    given = json.load(sys.stdin)
    if sys.argv[1] == "survey":
        survey(given, sys.argv[2])
    else:
        try_jobs(given)
