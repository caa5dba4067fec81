"""A pytest plugin, run inside the sandbox: stop once a deciding test has failed.

Runs on any Python and pytest that an instance uses, so it stays in their common subset.
"""

import io
import json
import os

_state = {}


def pytest_sessionstart(session):
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "deciding.json")
    with io.open(path, encoding="utf-8") as file:
        _state["deciding"] = frozenset(json.load(file))
    _state["session"] = session


def pytest_runtest_logreport(report):
    if report.failed and report.when in ("setup", "call") and report.nodeid in _state["deciding"]:
        _state["session"].shouldfail = "the verdict is decided: " + report.nodeid + " failed"
