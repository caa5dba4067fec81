"""The pinned `swebench` package: its parsers and its verdict, without what they drag in."""

import importlib
import importlib.util
import sys
import tempfile
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from harness.records import Instance

VERSION = "5.0.2"


class OfficialReport(NamedTuple):
    """What the official rules say of a log."""

    resolved: bool
    statuses: dict[str, str]
    infra_reason: str | None


@cache
def _grading() -> Any:
    """`swebench.harness.grading` alone.

    Importing it the ordinary way runs `swebench/harness/__init__.py`, which imports modal,
    datasets and pandas: four CPU-seconds that no parser needs. A bare package in its place,
    removed afterwards, imports the same file in 0.1 s.
    """
    name = "swebench.harness"
    if name in sys.modules:
        return importlib.import_module(f"{name}.grading")
    spec = importlib.util.find_spec(name)
    if spec is None:
        raise ImportError(f"swebench {VERSION} is not installed")
    bare = ModuleType(name)
    bare.__path__ = list(spec.submodule_search_locations or ())
    sys.modules[name] = bare
    try:
        return importlib.import_module(f"{name}.grading")
    finally:
        del sys.modules[name]


def _test_spec(instance: Instance) -> Any:
    types = importlib.import_module("swebench.types")
    return types.TestSpec(
        instance_id=instance.instance_id,
        image=instance.image,
        eval_script_list=[],
        repo=instance.repo,
        version=instance.version,
        FAIL_TO_PASS=list(instance.FAIL_TO_PASS),
        PASS_TO_PASS=list(instance.PASS_TO_PASS),
        log_parser=instance.log_parser,
        eval_type=instance.eval_type,
    )


def known_parser(name: str) -> bool:
    """Whether the pinned package has a log parser of this name."""
    return name in _grading().PARSER_REGISTRY


def parse(instance: Instance, text: str) -> dict[str, str]:
    """The official parser of the instance's log: test name to status."""
    statuses: dict[str, str] = _grading().PARSER_REGISTRY[instance.log_parser](
        text, _test_spec(instance)
    )
    return statuses


def judge_log(instance: Instance, test_output: str, exit_code: int | None) -> OfficialReport:
    """The official report on the output of the instance's test command.

    `test_output` is what the command wrote and nothing else: the official markers are added
    here, and any inside the output are defused, so that the output cannot move them.
    """
    grading = _grading()
    log = "\n".join(
        (
            grading.START_TEST_OUTPUT,
            defuse(test_output),
            grading.END_TEST_OUTPUT,
            f"{grading.TEST_EXIT_CODE}: {-1 if exit_code is None else exit_code}",
            "",
        )
    )
    spec = _test_spec(instance)
    prediction = {"instance_id": instance.instance_id, "model_patch": "see the work tree"}
    with tempfile.NamedTemporaryFile("w", suffix=".log", encoding="utf-8") as file:
        file.write(log)
        file.flush()
        statuses, _ = grading.get_logs_eval(spec, file.name)
        report = grading.get_eval_report(spec, prediction, file.name, include_tests_status=False)
    verdict = report[instance.instance_id]
    return OfficialReport(
        resolved=bool(verdict["resolved"]),
        statuses=dict(statuses),
        infra_reason=verdict.get("infra_failure_reason"),
    )


def judge_statuses(instance: Instance, statuses: dict[str, str]) -> dict[str, dict[str, list[str]]]:
    """The official success and failure lists for given test statuses."""
    grading = _grading()
    report: dict[str, dict[str, list[str]]] = grading.get_eval_tests_report(
        statuses,
        {"FAIL_TO_PASS": instance.FAIL_TO_PASS, "PASS_TO_PASS": instance.PASS_TO_PASS},
        eval_type=grading.EvalType(instance.eval_type),
    )
    return report


def defuse(output: str) -> str:
    """The output with every official marker (`>>>>> …`) made harmless."""
    return output.replace(">>>>> ", ">>>> > ")


def package_file() -> Path:
    """The grading module's file, for the run's lock."""
    return Path(str(_grading().__file__))
