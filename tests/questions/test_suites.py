"""Question suites: the public columns, files of one's own, and rows that lie."""

import json
import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet
import pytest

from harness.questions.load import Questions, load_questions
from harness.questions.manifest import load_question_suite, question_suites
from harness.questions.records import MIB, CodeRule, MathRule, rule_of
from harness.records import Instance
from harness.suites.errors import SuiteError
from tests.questions.public_rows import ROWS

SHIPPED = ("sample-code", "sample-math")


def load(tmp_path: Path, suite: str, *rows: Any) -> Questions:
    """Load rows as a suite's."""
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return load_questions(suite, rows=path)


def first(tmp_path: Path, suite: str, **changes: Any) -> Instance:
    """The instance of a suite's recorded row."""
    return load(tmp_path, suite, ROWS[suite] | changes).suite.instances[0]


def test_every_suite_has_a_recorded_row() -> None:
    assert question_suites() == tuple(sorted({*ROWS, *SHIPPED}))
    for name in ROWS:
        suite = load_question_suite(name)
        assert suite.name == name
        assert re.search("(not|neither) .*read", suite.schema_source)


@pytest.mark.parametrize("suite", ROWS)
def test_a_row_in_the_public_columns(suite: str, tmp_path: Path) -> None:
    found = load(tmp_path, suite, ROWS[suite])
    assert found.suite.refused == ()
    (instance,) = found.suite.instances
    rule = rule_of(instance)
    assert rule.kind == found.kind
    assert Instance.model_validate_json(instance.model_dump_json()) == instance
    assert not instance.gradable, "no command for repositories takes a question for one"
    if isinstance(rule, CodeRule):
        assert "sum of two integers" in instance.problem_statement
        assert len(rule.tests.inputs) == 2, "a test that is there twice is kept once"
        assert instance.FAIL_TO_PASS == ("test 1", "test 2")


def test_what_the_mathematical_columns_say(tmp_path: Path) -> None:
    one = first(tmp_path, "math-500")
    assert one.instance_id == "math-500-test-precalculus-807.json"
    assert (one.repo, one.difficulty) == ("math-500/Precalculus", "2")
    assert rule_of(one) == MathRule(answer="\\left( 3, \\frac{\\pi}{2} \\right)")
    assert rule_of(first(tmp_path, "amc-2023")) == MathRule(answer="27")
    assert rule_of(first(tmp_path, "olympiad-bench")) == MathRule(answer="2, -2")
    assert first(tmp_path, "dapo-math-17k").instance_id.endswith("62eaf2f74079")


def test_what_the_columns_of_programs_say(tmp_path: Path) -> None:
    apps = first(tmp_path, "apps")
    rule = rule_of(apps)
    assert isinstance(rule, CodeRule)
    assert rule.tests.function == "add"
    assert rule.tests.inputs[0] == "[2, 3]"
    assert "```python\ndef add(a, b):" in apps.problem_statement
    contest = rule_of(first(tmp_path, "code-contests"))
    assert isinstance(contest, CodeRule)
    assert (contest.seconds, contest.ignore_case, contest.tolerance) == (12.5, True, 1e-5)
    taco = rule_of(first(tmp_path, "taco"))
    assert isinstance(taco, CodeRule)
    assert (taco.seconds, taco.memory_bytes) == (15.0, 2048 * MIB)
    forces = first(tmp_path, "codeforces")
    assert "Examples\nInput\n2 3\nOutput\n5" in forces.problem_statement
    assert forces.difficulty == "800"


def test_rows_of_other_suites_are_left_out_and_counted(tmp_path: Path) -> None:
    mixed = [ROWS["prime-apps"], ROWS["prime-taco"], ROWS["prime-taco"]]
    found = load(tmp_path, "prime-apps", *mixed)
    assert (len(found.suite.instances), found.elsewhere) == (1, 2)
    row = ROWS["codeforces"]
    odd = [row | {"id": "1", "generated_checker": "def check(): …"}, row | {"input_mode": "file"}]
    assert load(tmp_path, "codeforces", row, *odd).elsewhere == 2


def test_a_wrong_column_says_which_there_are(tmp_path: Path) -> None:
    rows = [{"id": n, "problem": "?", "anwser": "1"} for n in range(5)]
    with pytest.raises(SuiteError, match="no column 'answer'; there are: id, problem, anwser; did"):
        load(tmp_path, "aime-2024", *rows)
    with pytest.raises(
        SuiteError, match=r"no column 'reward_model\.ground_truth'; there are: style"
    ):
        load(tmp_path, "prime-apps", ROWS["prime-apps"] | {"reward_model": {"style": "rule"}})


def test_ids_that_are_there_twice_are_refused(tmp_path: Path) -> None:
    row = ROWS["aime-2024"]
    found = load(tmp_path, "aime-2024", row, row | {"problem": "Another?"}, row | {"id": 61})
    assert [one.problem_statement for one in found.suite.instances] == [row["problem"]] * 2
    assert "'aime-2024-60' is already in row 1" in found.suite.refused[0].text


@pytest.mark.parametrize(
    ("suite", "changes", "said"),
    [
        ("aime-2024", {"answer": None}, "at least 1 character"),
        ("aime-2024", {"answer": "1" * 30_000}, "at most 20000 characters"),
        ("aime-2024", {"problem": " "}, "the question is empty"),
        ("aime-2024", {"id": "..", "url": ""}, "has no letter or digit"),
        ("apps", {"input_output": "{not JSON"}, "not JSON"),
        ("apps", {"input_output": "[" * 100_000}, "not JSON"),
        ("apps", {"input_output": ""}, "no tests"),
        ("apps", {"input_output": '{"inputs": ["1"], "outputs": []}'}, "as many inputs"),
        ("apps", {"input_output": '{"fn_name": "a b", "inputs": [[]], "outputs": [1]}'}, "pattern"),
        ("taco", {"input_output": '{"inputs": [1], "outputs": ["1"]}'}, "a test is int"),
        ("taco", {"input_output": '{"inputs": "12", "outputs": "12"}'}, "as many inputs"),
        ("codeforces", {"official_tests": [{"input": "1"}]}, "a test has ['input']"),
        ("code-contests", {"time_limit": {"seconds": "soon"}}, "could not convert"),
    ],
)
def test_rows_that_are_no_questions(
    suite: str, changes: dict[str, Any], said: str, tmp_path: Path
) -> None:
    with pytest.raises(SuiteError) as refused:
        load(tmp_path, suite, ROWS[suite] | changes)
    assert said in str(refused.value)
    good = ROWS[suite] | {"id": "x", "problem_id": "x", "name": "x"}
    found = load(tmp_path, suite, ROWS[suite] | changes, good)
    assert len(found.suite.instances) == len(found.suite.refused) == 1


def test_a_file_of_ones_own(tmp_path: Path) -> None:
    rows = [{"id": "a", "problem": "1 + 1?", "answer": "2"}]
    jsonl, parquet = tmp_path / "_My_Set.v2.jsonl", tmp_path / "my-set.parquet"
    jsonl.write_text(json.dumps(rows[0]))
    pyarrow.parquet.write_table(pa.Table.from_pylist(rows), parquet)
    one, other = load_questions(str(jsonl)).suite, load_questions(str(parquet)).suite
    assert one.instances[0].instance_id == "my-set-a"
    assert one.sha256 == other.sha256


def test_a_mapping_of_ones_own(tmp_path: Path) -> None:
    mapping = tmp_path / "mine.yaml"
    mapping.write_text(
        "name: mine\ntitle: t\nkind: math\nlicence: l\nschema_source: s\ndataset: o/d\n"
        "columns: {question: [q], answer: a.0}\n"
    )
    found = load(tmp_path, str(mapping), {"q": "1 + 1?", "a": ["2"]}, "no object")
    assert found.suite.instances[0].instance_id == "mine-1"
    assert "expected an object" in found.suite.refused[0].text
    mapping.write_text(mapping.read_text().replace("kind: math", "kind: code"))
    with pytest.raises(SuiteError, match=r"kind math needs columns\.answer, kind code has none"):
        load_questions(str(mapping))


def test_unknown_names(tmp_path: Path) -> None:
    with pytest.raises(SuiteError, match="did you mean 'aime-2024'"):
        load_questions("aime2024")
    with pytest.raises(SuiteError, match="only a dataset on the hub has splits"):
        load_questions("sample-math", split="train")
    with pytest.raises(SuiteError, match="no such file"):
        load_questions(str(tmp_path / "none.jsonl"))
