"""The final answer of a response."""

import pytest

from harness.questions.extract import MAX_ANSWER, final_answer, last_program

TWO = "```python\nfirst\n```\nthen\n```python\nsecond\n```"


@pytest.mark.parametrize(
    ("response", "answer"),
    [
        ("Steps.\nAnswer: 42", "42"),
        ("Answer: 1\nno, wait\nAnswer: 2\n", "2"),
        ("answer : $\\frac{1}{2}$.", "\\frac{1}{2}"),
        ("**Answer:** 7", "7"),
        ("**Answer: 7**", "7"),
        ("### Final Answer: 7", "7"),
        ("> Answer: `7`", "7"),
        ("Answer: \\boxed{\\frac{1}{2}}", "\\frac{1}{2}"),
        ("Answer: \\(x = 3\\)", "x = 3"),
        ("Answer:\n\n\\[ 3 \\]\n", "3"),
        ("Answer:\n7 apples\n\nBye.", "7 apples"),
        ("so \\boxed{2} or \\boxed{\\{1, 2\\}}", "\\{1, 2\\}"),
        ("so \\boxed{a_{1}^{2}} holds", "a_{1}^{2}"),
        ("\\fbox{5}", "5"),
        ("\\boxed{9}\nAnswer: 8", "8"),  # the line is what was asked for
        ("\\boxed{9} and \\boxed{never closed", "9"),
        ("Answer: $1$ and $2$", "$1$ and $2$"),
        ("<think>Answer: 1</think>\nAnswer: 2", "2"),
        ("<think>\nAnswer: 1", None),  # cut before its end
        ("<think>x</think> no line", None),
        ("The answer: is 3", None),  # no line of its own
        ("the answer is 3", None),
        ("Answer:", None),
        ("", None),
        ("Answer: " + "1" * (MAX_ANSWER + 1), None),
    ],
)
def test_the_answer_of_a_response(response: str, answer: str | None) -> None:
    assert final_answer(response) == answer


@pytest.mark.parametrize(
    ("response", "program"),
    [
        (TWO, "second\n"),
        ("```\nplain\n```", "plain\n"),
        ("```py\nx\n```\n```json\n{}\n```", "x\n"),  # data is no program
        ("```Python title=a.py\nx\n```", "x\n"),
        ("1.\n   ```python\n   x\n   ```", "   x\n"),
        ("```python\ns = '```'\n```", "s = '```'\n"),
        ("```python\nnever closed", None),
        ("<think>\n```python\nx\n```", None),
        ("<think>\n```python\nx\n```\n</think>```python\ny\n```", "y\n"),
        ("print(1)", None),
    ],
)
def test_the_program_of_a_response(response: str, program: str | None) -> None:
    assert last_program(response) == program


@pytest.mark.parametrize("text", ["\\boxed{" * 20_000, "Answer:" * 50_000, "```python\n" * 20_000])
def test_hostile_responses_take_no_time(text: str) -> None:
    final_answer(text)
    last_program(text)
