"""Which files are tests."""

import pytest

from pi_extractors.call_graph.evaluation_files import evaluation_files

REPOSITORY = [
    "django/core/management/commands/test.py",
    "django/test/client.py",
    "django/test/utils.py",
    "docs/conf.py",
    "lib/pkg/testing/__init__.py",
    "setup.py",
    "src/_pytest/pytester.py",
    "sympy/testing/randtest.py",
    "sympy/testing/tests/test_code_quality.py",
    "sympy/utilities/runtests.py",
]
TESTS = [
    "conftest.py",
    "old/test/functional/generated.py",
    "old/test/unittest_lint.py",
    "pkg/a_test.py",
    "pkg/Tests/data.py",
    "pkg/tests.py",
    "pkg/tests/helper.py",
    "test/support.py",
    "test_requests.py",
    "testing/example_scripts/plain.py",
]


def test_tests_are_told_from_products() -> None:
    found = evaluation_files([*REPOSITORY, *TESTS])
    assert found == {*TESTS, "sympy/testing/tests/test_code_quality.py"}


@pytest.mark.parametrize("line", ["--- a/setup.py", "+++ b/setup.py", '+++ "b/setup.py"'])
def test_what_a_test_patch_touches_is_a_test(line: str) -> None:
    assert evaluation_files(REPOSITORY[:8], f"diff --git x\n{line}\n") == {"setup.py"}
    assert evaluation_files(REPOSITORY[:8], f" {line}\n") == frozenset()
