"""A pytest plugin that records how tests end. Runs in a package's sandbox, beside
`edit_bugs_worker.py`: standard library and pytest only."""

import contextlib
import inspect
import os
import sys
import threading
from collections.abc import Iterable, Iterator
from types import FrameType
from typing import Any

import pytest

TREE = os.environ.get("EDIT_BUGS_TREE", "/testbed")
LONGEST_NAME = 1000
MOST_EXPLAINED = 3
MOST_LOCALS, MOST_REPR = 12, 300

Place = tuple[str, int]


class Recorder:
    """A pytest plugin: how each test ended, with what error, and which functions it executed."""

    def __init__(
        self,
        wanted: Iterable[str] | None = None,
        most: int = 0,
        places: dict[str, Any] | None = None,
        *,
        profiled: bool = False,
    ) -> None:
        self.wanted, self.most, self.places, self.profiled = wanted, most, places or {}, profiled
        self.passed: list[str] = []
        self.other: set[str] = set()
        self.failed: dict[str, bool] = {}
        self.functions: dict[str, set[Place]] = {}
        self.imported: set[Place] = set()
        self.defined: dict[str, Place | None] = {}
        self.errors: dict[str, tuple[str, str, int]] = {}
        self.raised: dict[str, Place] = {}
        self.values: dict[str, dict[str, str]] = {}
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
        items[:] = [item for item in items if len(item.nodeid) <= LONGEST_NAME]
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
            if len(self.errors) < MOST_EXPLAINED:
                self.errors[test] = error_of(item, call)
                self._explain(item, call)
            self.broken.add(str(self.places.get(test, test)))
            if self.most and len(self.broken) > self.most:
                self.wide = True
                self.session.shouldstop = "many tests fail"
        elif report.outcome == "skipped" or hasattr(report, "wasxfail"):
            self.other.add(test)
        elif report.when == "call" and report.outcome == "passed":
            self.passed.append(test)

    def _explain(self, item: pytest.Item, call: pytest.CallInfo[None]) -> None:
        """Which function of the tree the error arose in, and what the test's variables were."""
        for entry in call.excinfo.traceback if call.excinfo else ():
            code = entry.frame.code.raw
            if code.co_filename.startswith(TREE + "/"):
                self.raised[item.nodeid] = code.co_filename[len(TREE) + 1 :], code.co_firstlineno
            if str(entry.path) == str(item.path):
                self.values[item.nodeid] = representations(entry.frame.f_locals)

    def results(self) -> dict[str, Any]:
        not_passed = self.other | set(self.failed)
        return {
            "passed": [test for test in self.passed if test not in not_passed],
            "failed": list(self.failed),
            "errors": self.errors,
            "raised": self.raised,
            "values": self.values,
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


def representations(values: dict[str, Any]) -> dict[str, str]:
    """Texts of the first variables that have a short one."""
    found: dict[str, str] = {}
    for name, value in values.items():
        with contextlib.suppress(Exception):
            text = repr(value)
            if name.isidentifier() and name != "self" and len(text) <= MOST_REPR:
                found[name] = text
        if len(found) == MOST_LOCALS:
            break
    return found
