from pathlib import Path

import pytest

from harness.datagen.synthesis.difficulty import estimate
from harness.datagen.synthesis.judge import Finding
from harness.datagen.synthesis.writer import ModelWriter
from tests.agents.scripted_endpoint import ScriptedEndpoint, Step, scripted

FILES = {
    "m.py": "class Box:\n    def put(self, a):\n        if a:\n            return 1\n"
    "        return 2\n\n\ndef short():\n    return 1\n"
}
BUG = "Here:\n```python\ndef put(self, a):\n    if not a:\n        return 1\n    return 2\n```\n"
ISSUE = (
    "`put` of a box with something in it gives back two. I expected one, as it always was.\n" * 2
)


def bugs(folder: Path, *script: Step) -> tuple[list[str], int]:
    """The texts of the file that the model's answers make, and how often it was asked."""
    with scripted(*script) as server, ModelWriter(server.endpoint, folder) as writer:
        found = list(writer.bugs(FILES, None, seed="s", most=5))
        return [one.changed(FILES)["m.py"] for one in found], len(server.requests)


def test_a_function_is_rewritten_in_its_place(tmp_path: Path) -> None:
    (text,), asked = bugs(tmp_path, BUG)
    assert text == FILES["m.py"].replace("if a:", "if not a:")
    assert asked == 1  # not about the short one


@pytest.mark.parametrize(
    "answer",
    [
        "no block",
        BUG + BUG,
        BUG.replace("put", "take"),
        BUG.replace("(self, a)", "(self, a, b)"),
        BUG.replace("return 2", "return )"),
        "```python\nput = 1\n```",
        "```python\ndef put(self, a):\n    if a:\n        return 1\n    return 2\n```",
    ],
)
def test_an_answer_that_is_no_bug_of_the_function_is_left_out(tmp_path: Path, answer: str) -> None:
    assert bugs(tmp_path, answer)[0] == []


def test_answers_are_kept(tmp_path: Path) -> None:
    first = bugs(tmp_path, BUG)
    again = bugs(tmp_path, "something else")
    assert again == (first[0], 0)


@pytest.fixture
def finding() -> Finding:
    return Finding(
        instance_id="a__b-s1",
        repo="a/b",
        operator="guard",
        kind="guard",
        path="src/m.py",
        function="Box.put",
        estimate=estimate(
            arises_there=False, reached=1, failing=1, covering=2, lines=2, functions=1
        ),
        problem_statement="The template.",
        patch="+++ b/src/m.py\n+        if a_is_empty(a):\n",
        test_patch="",
        fail_to_pass=("t.py::test_put",),
        pass_to_pass=("t.py::test_other",),
        test_files=("t.py",),
        shown=("def test_put():\n    assert Box().put(1) == 1\n",),
    )


def reworded(folder: Path, finding: Finding, *script: Step) -> tuple[str, ScriptedEndpoint]:
    with scripted(*script) as server, ModelWriter(server.endpoint, folder) as writer:
        return writer.reworded(finding).problem_statement, server


def test_a_statement_that_gives_nothing_away_is_taken(tmp_path: Path, finding: Finding) -> None:
    text, server = reworded(tmp_path, finding, ISSUE)
    assert text == ISSUE
    assert "The template." in server.requests[0]["messages"][0]["content"]


@pytest.mark.parametrize(
    "leak", ["a_is_empty is gone", "look at src/m.py", "test_put fails", "test_other"]
)
def test_another_one_is_asked_for_and_then_the_template_stays(
    tmp_path: Path, finding: Finding, leak: str
) -> None:
    assert reworded(tmp_path / "1", finding, ISSUE + leak, ISSUE)[0] == ISSUE
    text, server = reworded(tmp_path / "2", finding, ISSUE + leak)
    assert (text, len(server.requests)) == ("The template.", 2)
    assert reworded(tmp_path / "3", finding, "too short")[0] == "The template."
