"""The shipped samples: their answers are right, by other ways than those they were written by."""

from fractions import Fraction
from itertools import product
from math import comb, isqrt
from typing import Any

import pytest

from harness.grading.options import GradingOptions
from harness.questions.grader import QuestionGrader
from harness.questions.load import load_questions
from harness.questions.mathematics import MathJudge
from harness.questions.places import place_of
from harness.questions.records import CodeRule, MathRule, rule_of
from harness.records import Verdict
from harness.sandboxes.base import SandboxFailure


def _computed() -> dict[str, Any]:
    blue = [one for one in product(range(8), repeat=2) if one[0] != one[1]]
    inside = [x / 100 for x in range(-1000, 1000) if abs(2 * x / 100 - 3) < 5]
    square = 6**2 + 9**2
    outer = max(n for n in range(1, isqrt(square) + 1) if square % n**2 == 0)
    cubes = {x: (x + 2) * (x**2 - 2 * x + 4) - x**3 for x in range(-5, 6)}
    assert set(cubes.values()) == {8}
    return {
        "sum-of-two-numbers": 17 + 25,
        "linear-equation": next(x for x in range(100) if 3 * x - 7 == 20),
        "roots-of-a-quadratic": ", ".join(
            str(x) for x in range(-100, 100) if x**2 - 5 * x + 6 == 0
        ),
        "two-blue-balls": Fraction(sum(max(one) < 5 for one in blue), len(blue)),
        "divisors-of-360": sum(360 % n == 0 for n in range(1, 361)),
        "up-and-down": f"{(1 - Fraction(120, 100) * Fraction(75, 100)) * 100}\\%",
        "absolute-value": f"({round(min(inside))}, {round(max(inside))})",
        "hypotenuse": f"{outer}\\sqrt{{{square // outer**2}}}",
        "geometric-series": Fraction(1, 1 - Fraction(1, 3)),
        "sum-of-cubes": "x^3 + 8",
        "power-modulo-13": pow(7, 100, 13),
        "digits-that-sum-to-ten": sum(
            sum(map(int, str(n))) == 10 for n in range(100, 1000)
        ),
    }  # fmt: skip


def test_the_answers_of_the_mathematical_sample() -> None:
    pytest.importorskip("math_verify")
    computed = _computed()
    found = load_questions("sample-math")
    assert {one.instance_id for one in found.suite.instances} == {
        f"sample-math-{name}" for name in computed
    }
    with MathJudge() as judge:
        for one in found.suite.instances:
            rule = rule_of(one)
            assert isinstance(rule, MathRule)
            mine = computed[one.instance_id.removeprefix("sample-math-")]
            assert judge.compare(rule.answer, str(mine)).same, one.instance_id


def test_the_solutions_of_the_sample_of_programs_pass_and_nothing_else_does() -> None:
    found = load_questions("sample-code")
    try:
        provider, images = place_of("code", found.suite.instances)
    except SandboxFailure as error:
        pytest.skip(str(error))
    grader = QuestionGrader("code", provider, GradingOptions(), owner="questions")
    assert len(found.suite.instances) == 10
    for one in found.suite.instances:
        image = images.references[one.instance_id]
        right, _ = grader.grade(one, f"So:\n```python\n{one.patch}```", image)
        assert right.verdict is Verdict.RESOLVED, right.reason
        first = rule_of(one)
        assert isinstance(first, CodeRule)
        only = f"def {first.tests.function}(*_): return {first.tests.outputs[0]}"
        only = only if first.tests.function else f"print({first.tests.outputs[0]!r}, end='')"
        wrong, _ = grader.grade(one, f"```\nnull = None\n{only}\n```", image)
        assert wrong.verdict is Verdict.UNRESOLVED, "the first test alone does not decide"
        assert wrong.tests["test 1"] in ("PASSED", "FAILED")


def test_expected_outputs_by_other_ways() -> None:
    """Where a mistake of the solution would be in its tests too."""
    rules = {one.instance_id: rule_of(one) for one in load_questions("sample-code").suite.instances}
    paths = rules["sample-code-paths-around-walls"]
    assert isinstance(paths, CodeRule)
    assert paths.tests.outputs == ("2\n", "2\n", "0\n", f"{comb(38, 19) % (10**9 + 7)}\n")
    mean = rules["sample-code-mean-of-a-list"]
    assert isinstance(mean, CodeRule)
    assert [float(one) for one in mean.tests.outputs] == [7 / 3, -0.5, 7 / 6]
