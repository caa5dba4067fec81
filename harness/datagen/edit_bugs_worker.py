"""Run in a package's sandbox: which functions each test executes, and what edits do to the tests.

    python edit_bugs_worker.py survey OUT <settings   the tests of the clean tree, run twice
    python edit_bugs_worker.py try <settings          a JSON line for each edit, as they come

pytest and what the tests import are loaded once; each run is a fork of that process, with limits,
and the tree is put back after it. Standard library and pytest only: nothing of the harness is here.
"""

import contextlib
import importlib
import inspect
import json
import os
import resource
import select
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

TREE = os.environ.get("EDIT_BUGS_TREE", "/testbed")
SCRATCH = os.environ.get("EDIT_BUGS_SCRATCH", "/tmp/edit-bugs")  # noqa: S108
MEMORY_BYTES = 3 << 30
FILE_BYTES = 64 << 20
NOTHING: dict[str, Any] = {"passed": [], "failed": [], "errors": {}, "wide": False, "code": -1}
OPTIONS = ["-q", "-p", "no:cacheprovider", "--tb=no"]


Place = tuple[str, int]
Files = dict[Path, tuple[int, int, int]]


class Recorder:
    """A pytest plugin: how each test ended, with what error, and which functions it executed."""

    def __init__(
        self, wanted: Iterable[str] | None, most: int, places: dict[str, Any], profiled: bool
    ) -> None:
        self.wanted, self.most, self.places, self.profiled = wanted, most, places, profiled
        self.passed: list[str] = []
        self.other: set[str] = set()
        self.failed: dict[str, bool] = {}
        self.functions: dict[str, set[Place]] = {}
        self.imported: set[Place] = set()
        self.defined: dict[str, Place | None] = {}
        self.errors: dict[str, tuple[str, str, int]] = {}
        self.called = self.imported
        self.broken: set[str] = set()
        self.session: pytest.Session
        self.wide = False

    def _profile(self, frame: FrameType, event: str, argument: object) -> None:
        if event == "call":
            code = frame.f_code
            if code.co_filename.startswith(TREE + "/"):
                self.called.add((code.co_filename[len(TREE) + 1 :], code.co_firstlineno))

    def pytest_sessionstart(self, session: pytest.Session) -> None:
        self.session = session
        if self.profiled:
            threading.setprofile(self._profile)
            sys.setprofile(self._profile)

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        for item in items:
            self.defined[item.nodeid] = definition(item)
        if self.wanted is not None:
            items[:] = [item for item in items if item.nodeid in self.wanted]

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        self.called = self.functions[item.nodeid] = set()
        yield
        self.called = set()

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Iterator[None]:
        outcome: Any = yield
        report = outcome.get_result()
        test = item.nodeid
        if report.outcome == "failed" and test not in self.failed:
            self.failed[test] = True
            if len(self.errors) < 3:
                self.errors[test] = error_of(item, call)
            self.broken.add(str(self.places.get(test, test)))
            if self.most and len(self.broken) > self.most:
                self.wide = True
                self.session.shouldstop = "many tests fail"
        elif report.outcome == "skipped" or hasattr(report, "wasxfail"):
            self.other.add(test)
        elif report.when == "call" and report.outcome == "passed":
            self.passed.append(test)

    def results(self) -> dict[str, Any]:
        not_passed = self.other | set(self.failed)
        return {
            "passed": [test for test in self.passed if test not in not_passed],
            "failed": list(self.failed),
            "errors": self.errors,
            "wide": self.wide,
        }


def definition(item: pytest.Item) -> Place | None:
    """File (in the tree) and first line of the function of a test, or None."""
    function: Any = getattr(item, "obj", None)
    with contextlib.suppress(Exception):
        code = inspect.unwrap(getattr(function, "__func__", function)).__code__
        if code.co_filename.startswith(TREE + "/"):
            return code.co_filename[len(TREE) + 1 :], code.co_firstlineno
    return None


def error_of(item: pytest.Item, call: pytest.CallInfo[None]) -> tuple[str, str, int]:
    """Type and first line of an error, and the line of the test's file where it arose."""
    if call.excinfo is None:
        return "", "", 0
    line = 0
    for entry in call.excinfo.traceback:
        if str(entry.path) == str(item.path):
            line = entry.lineno + 1
    message = ""
    with contextlib.suppress(BaseException):
        message = str(call.excinfo.value)[:2000]
    return call.excinfo.typename, message, line


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
    code = int(pytest.main([*OPTIONS, f"--basetemp={SCRATCH}/pytest", *arguments], [recorder]))
    sys.setprofile(None)
    threading.setprofile(None)
    return code


def survey(settings: dict[str, Any], out: str) -> None:
    """The tests that pass twice, with their functions and definitions."""

    def first() -> dict[str, Any]:
        recorder = Recorder(None, 0, {}, True)
        session([], recorder)
        return {
            **recorder.results(),
            "functions": {
                test: sorted(recorder.functions.get(test, ())) for test in recorder.passed
            },
            "imported": sorted(recorder.imported),
            "defined": recorder.defined,
            "modules": sorted(outside()),
        }

    def second() -> dict[str, Any]:
        recorder = Recorder(None, 0, {}, False)
        session([], recorder)
        return recorder.results()

    found, why, _ = in_fork(first, settings["cpu"], settings["seconds"])
    again, why_again, cpu = in_fork(second, settings["cpu"], settings["seconds"])
    if found is None or again is None:
        sys.exit(f"the clean tree's tests do not run to their end: {why or why_again}")
    steady = set(found["passed"]) & set(again["passed"])
    tests = {
        test: {"functions": found["functions"][test], "defined": found["defined"].get(test)}
        for test in sorted(steady)
    }
    with Path(out).open("w") as file:
        json.dump(
            {
                "tests": tests,
                "unsteady": sorted(set(found["passed"]) ^ set(again["passed"])),
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


def put_back(clean: Files, contents: dict[Path, bytes]) -> None:
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


def try_edits(settings: dict[str, Any]) -> None:
    """Run the tests of each edit; print one line for each."""
    with quiet():
        for name in settings["modules"]:
            with contextlib.suppress(BaseException):
                importlib.import_module(name)
    clean = files()
    contents = {path: path.read_bytes() for path in clean}
    places = settings["places"]
    for job in settings["jobs"]:
        number, path = job["number"], Path(TREE, job["path"])
        whole = contents[path]
        edited = whole[: job["start"]] + job["text"].encode() + whole[job["end"] :]
        path.write_bytes(edited)
        os.utime(path, (number, number))  # of no other version: compiled files tell by it

        def work(job: dict[str, Any] = job) -> dict[str, Any]:
            sys.dont_write_bytecode = True
            recorder = Recorder(set(job["tests"]), settings["most"], places, False)
            code = session(sorted({test.partition("::")[0] for test in job["tests"]}), recorder)
            for thread in threading.enumerate():  # a process that waits for it does not end
                if thread is not threading.current_thread() and not thread.daemon:
                    thread.join()
            return {**recorder.results(), "code": code}

        found, why, cpu = in_fork(work, settings["cpu"], settings["seconds"])
        put_back(clean, contents)
        print(
            json.dumps(
                {
                    "number": number,
                    "stopped": why,
                    "seconds": round(cpu, 3),
                    **(
                        found
                        or {"passed": [], "failed": [], "errors": {}, "wide": False, "code": -1}
                    ),
                }
            ),
            flush=True,
        )


if __name__ == "__main__":
    given = json.load(sys.stdin)
    if sys.argv[1] == "survey":
        survey(given, sys.argv[2])
    else:
        try_edits(given)
