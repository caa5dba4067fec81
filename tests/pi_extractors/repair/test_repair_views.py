"""The repair view of PI: the gold edit, and what failing tests reach."""

from typing import Any

import pytest

from harness.records import Instance
from pi_extractors.base import ExtractionError
from pi_extractors.records import SourceName, Tier
from pi_extractors.repair.gold import RepairGoldSource
from pi_extractors.repair.names import NameGraph, names_used
from pi_extractors.repair.reach import RepairReachSource
from pi_extractors.snapshot import MemorySnapshot
from tests.agents.repair_repository import SOURCE, repair_instance

TESTS = b"""\
import pytest


@pytest.fixture
def prepared():
    return facade(1)


def test_old():
    # clip_size get
    assert pad("a")
"""
FACADE = b"def facade(x):\n    return inner(x)\n\n\ndef inner(x):\n    return clip_size(x, 1, 2)\n"
FILES = {
    "src/box.py": SOURCE.encode(),
    "src/facade.py": FACADE,
    "tests/test_box.py": TESTS,
    "docs/conf.py": b"def prepared():\n    return pad()\n",
    "src/broken.py": b"def f(:\n",
}


def case(test: str, fails: str = "tests/test_box.py::test_new", **changes: Any) -> Instance:
    """An instance whose test patch adds a test."""
    lines = test.split("\n")
    patch = (
        "diff --git a/tests/test_box.py b/tests/test_box.py\n"
        "--- a/tests/test_box.py\n+++ b/tests/test_box.py\n"
        f"@@ -8,0 +9,{len(lines)} @@\n" + "".join(f"+{line}\n" for line in lines)
    )
    return repair_instance("0" * 40).model_copy(
        update={
            "test_patch": patch,
            "FAIL_TO_PASS": (fails,),
            "PASS_TO_PASS": ("tests/test_box.py::test_old",),
            **changes,
        }
    )


def reach(instance: Instance) -> str:
    return RepairReachSource().extract(instance, MemorySnapshot(FILES)).text


def test_the_oracle_text_is_function_place_and_text() -> None:
    record = RepairGoldSource().extract(case(""), MemorySnapshot(FILES))
    assert record.text == "patch clip size<0> <=\nnext clip size"
    assert (record.source, record.tier) == (SourceName.GOLD_PATCH, Tier.ORACLE)
    assert record.provenance.extractor == "repair_gold_patch/1"


def test_what_failing_tests_reach_over_calls() -> None:
    """`clip_size` is three calls away, `pad` one; both are named, the nearer first."""
    test = "def test_new():\n    facade(1)\n    pad({}, 2)"
    assert reach(case(test, PASS_TO_PASS=())) == "tests reach pad, clip size"


def test_functions_of_one_short_name_are_named_as_the_state_names_them() -> None:
    assert reach(case("def test_new():\n    get({}, 2)")) == "tests reach box get, get"


def test_what_passing_tests_reach_counts_less() -> None:
    assert reach(case("def test_new():\n    pad('a')\n    facade(1)")) == "tests reach clip size"


def test_fixtures_of_the_file_are_looked_into() -> None:
    assert reach(case("def test_new(prepared):\n    assert prepared")) == "tests reach clip size"


def test_words_of_a_failing_test_s_name_count() -> None:
    test = "def test_clip_of_size():\n    pass"
    assert reach(case(test, "tests/test_box.py::test_clip_of_size")) == "tests reach clip size"


def test_the_empty_text_where_nothing_is_reached() -> None:
    assert reach(case("def test_new():\n    other()")) == ""
    assert reach(case("def test_new():\n    pad('a')")) == ""


def test_the_deployable_text_does_not_depend_on_the_gold_patch() -> None:
    test = "def test_new():\n    get({}, 2)"
    assert reach(case(test)) == reach(case(test, patch="nothing"))


@pytest.mark.parametrize("source", [RepairGoldSource(), RepairReachSource()])
def test_what_is_no_repair_instance_is_an_error(
    source: RepairGoldSource | RepairReachSource,
) -> None:
    with pytest.raises(ExtractionError, match="reads the repository"):
        source.extract(case(""))
    with pytest.raises(ExtractionError, match="no repair instance"):
        source.extract(case("", problem_statement="Mend it."), MemorySnapshot(FILES))


@pytest.mark.parametrize(
    ("changes", "files", "problem"),
    [
        ({"patch": "nothing"}, FILES, "no unified diff"),
        ({}, FILES | {"src/box.py": b"\xff"}, "can't decode"),
        ({}, FILES | {"src/box.py": b"def f(:\n"}, "no Python file"),
        ({}, {}, "src/box.py"),
    ],
)
def test_an_unusable_gold_patch_or_file_is_an_error(
    changes: dict[str, Any], files: dict[str, bytes], problem: str
) -> None:
    with pytest.raises(ExtractionError, match=problem):
        RepairGoldSource().extract(case("", **changes), MemorySnapshot(files))


def test_the_graph_by_names_leaves_tests_and_documents_out() -> None:
    graph = NameGraph(MemorySnapshot(FILES))
    assert graph.distances(["facade", "prepared"]) == {"facade": 1, "inner": 2, "clip_size": 3}
    chain = b"".join(b"def f%d():\n    f%d()\n" % (n, n + 1) for n in range(9))
    assert len(NameGraph(MemorySnapshot({"a.py": chain})).distances(["f0"])) == 4


def test_names_are_those_of_code_alone() -> None:
    assert names_used("    def f(a):\n        # b\n        return c.d('e')\n") == {"a", "c", "d"}
    assert names_used("no python (") == frozenset()
