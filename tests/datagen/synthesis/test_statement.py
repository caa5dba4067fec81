import pytest

from harness.datagen.synthesis.statement import Failure, leaks, templated

SOURCE = '''\
import pytest
from pkg import clamp


@pytest.mark.parametrize("low", [1])
def test_clamp_low(low):
    """The docstring stays inside."""
    high = 5
    assert clamp(0, low, high) == low
    assert clamp(9, low, high) == high
'''
PATCH = """\
diff --git a/pkg.py b/pkg.py
--- a/pkg.py
+++ b/pkg.py
@@ -1,2 +1,4 @@
 def clamp(value, low, high):
+    if value < low:
+        return lowest_allowed(low)
     return min(value, high)
"""


def failure(**changes: object) -> Failure:
    given = {
        "source": SOURCE,
        "first": 5,
        "line": 9,
        "exception": "AssertionError",
        "message": "assert 0 == 1\n +  where 0 = <function clamp at 0x7f3e1c>(0, 1, 5)",
        "values": {"low": "1", "high": "5"},
    }
    return Failure.model_validate({**given, **changes})


def test_a_statement_tells_code_values_and_error() -> None:
    assert templated(failure(), {"clamp"}) == (
        "Wrong result from `clamp`\n\nWhen I run\n\n```python\nfrom pkg import clamp\nhigh = 5\n"
        "assert clamp(0, low, high) == low\n```\n\nwith `low = 1`\n\nI get\n\n```\n"
        "AssertionError: assert 0 == 1\n+ where 0 = <function clamp>(0, 1, 5)\n```\n\n"
        "The last check should hold.\n"
    )


@pytest.mark.parametrize(
    ("exception", "message", "title", "end"),
    [
        ("TypeError", "no", "`clamp` fails with TypeError", "without this error."),
        ("Failed", "DID NOT RAISE <class 'V'>", "`clamp` accepts what it", "raise that error."),
    ],
)
def test_the_title_says_what_kind_of_failure_it_is(
    exception: str, message: str, title: str, end: str
) -> None:
    text = templated(failure(exception=exception, message=message), {"clamp"})
    assert text.startswith(title)
    assert text.strip().endswith(end)


def test_a_failure_in_a_function_of_the_test_shows_the_whole_test() -> None:
    source = "def test_it():\n    def check(x):\n        assert clamp(x)\n    check(1)\n"
    text = templated(failure(source=source, first=1, line=3), {"clamp"})
    assert "    assert clamp(x)\ncheck(1)\n```" in text


def test_imports_and_short_helpers_are_shown_with_the_code() -> None:
    source = (
        "from pkg import clamp, other\nONE = 1\ntwo = 2\n\n\nclass TestIt:\n"
        "    def check(self, x):\n        assert x == ONE\n\n"
        "    def test_it(self):\n        self.check(clamp(ONE))\n"
    )
    text = templated(failure(source=source, first=10, line=8), {"clamp"})
    assert text.split("```python\n")[1].split("```")[0] == (
        "from pkg import clamp\nONE = 1\ndef check(self, x):\n    assert x == ONE\n"
        "self.check(clamp(ONE))\n"
    )


def test_the_title_names_no_method_of_a_common_type_where_it_can() -> None:
    source = "def test_it():\n    assert Box(1).items() == {}.items()\n"
    text = templated(failure(source=source, first=1, line=2), {"items", "Box"})
    assert text.startswith("Wrong result from `Box`")


def test_long_code_loses_whole_statements_at_its_beginning() -> None:
    body = "".join(f"    x{n} = '''\n    {n}'''\n" for n in range(60))
    source = f"def test_it():\n{body}    assert x1\n"
    text = templated(failure(source=source, first=1, line=122), set())
    code = text.split("```python\n")[1].split("```")[0]
    compile(code, "code", "exec")
    assert code.startswith("# …\nx")
    assert code.strip().endswith("assert x1")


def told(statement: str, **changes: object) -> list[str]:
    given: dict[str, object] = {
        "patch": PATCH,
        "tests": ["tests/test_pkg.py::test_clamp_low[1]"],
        "shown": [SOURCE],
        "path": "src/pkg.py",
    }
    return list(leaks(statement, **{**given, **changes}))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("Try return  lowest_allowed( low )", "a line of the fix: return lowest_allowed(low)"),
        ("See src/pkg.py", "the file of the fix: src/pkg.py"),
        ("As test_clamp_low has it", "the name of a hidden test: test_clamp_low"),
        ("Use lowest_allowed", "a name of the fix: lowest_allowed"),
    ],
)
def test_a_statement_that_gives_something_away_is_told(statement: str, said: str) -> None:
    assert said in told(statement)


def test_names_that_the_tests_use_give_nothing_away() -> None:
    assert told("clamp(0, low, high) is wrong for value 0 < 1") == ["a name of the fix: value"]
    assert told("clamp(0, low, high) is wrong, test_clamp_lower too") == []
