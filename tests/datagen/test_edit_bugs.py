from pathlib import Path

import pytest

from harness.datagen.edit_bugs import Edit, broken_text, candidates, operator_of, source_files
from harness.records.repair.functions import editable_functions, find_edit

OTHER = "def other(a, b):\n    return a + b - 1\n\n\n"
# Of each operator: a function's body, and what one edit of it makes.
OPERATORS = [
    ("comparison", "return a < b < 2, a < b", "return a < b < 2, a >= b"),
    ("comparison", "return a == b", "return a != b"),
    ("comparison", "return a is b", "return a is not b"),
    ("comparison", "return a not in b", "return a in b"),
    ("boolean", "return a and b", "return a or b"),
    ("negation", "if a.b:\n        return b", "if not a.b:\n        return b"),
    ("negation", "return a if not b else 0", "return a if b else 0"),
    ("arithmetic", "return a + b", "return a - b"),
    ("arithmetic", "return a // b", "return a % b"),
    ("augmented assignment", "a += b\n    return a", "a -= b\n    return a"),
    ("integer", "return a[7]", "return a[8]"),
    ("integer", "return a[7]", "return a[6]"),
    ("integer", "return a[0]", "return a[1]"),
    ("truth value", "return True", "return False"),
    ("built-in function", "return min(a, b)", "return max(a, b)"),
    ("built-in function", "return any(a)", "return all(a)"),
    ("method", "return a.startswith(b)", "return a.endswith(b)"),
    ("method", "return a.lower()", "return a.upper()"),
    ("method", "return a.keys()", "return a.items()"),
    ("method", "return a.lstrip(b)", "return a.rstrip(b)"),
    ("method", "a.append(b)", "a.extend(b)"),
    ("method", "return a.find(b)", "return a.rfind(b)"),
    ("method", "return a.split(b)", "return a.rsplit(b)"),
    ("loop control", "for _ in a:\n        break", "for _ in a:\n        continue"),
]


def edits_of(files: dict[str, str], seed: str = "0") -> list[Edit]:
    return list(candidates(files, None, seed=seed))


def function(body: str) -> str:
    # Two places more, so that a function has enough of them to be shown.
    return f"{OTHER}def broken(a, b):\n    {body}\n    return 30 - 40\n"


@pytest.mark.parametrize(("operator", "body", "edit"), OPERATORS)
def test_every_operator_makes_its_edit(operator: str, body: str, edit: str) -> None:
    source = function(body)
    found = {broken_text(source, one): one for one in edits_of({"m.py": source})}
    made = found[function(edit)]
    assert (made.operator, made.function) == (operator, "broken")


@pytest.mark.parametrize(("operator", "body", "edit"), OPERATORS)
def test_every_edit_is_a_program_that_one_choice_mends(operator: str, body: str, edit: str) -> None:
    source = function(body)
    for one in edits_of({"m.py": source}):
        broken = broken_text(source, one)
        compile(broken, "m.py", "exec")
        assert find_edit(editable_functions(broken)[one.function], broken, source)


def test_no_edit_is_offered_twice_and_functions_take_turns() -> None:
    source = function("return a < b and a != b")
    edits = edits_of({"m.py": source})
    texts = [broken_text(source, one) for one in edits]
    assert len(set(texts)) == len(texts) == 3 + 1 + 1 + 2 + 2 + 1 + 4
    assert [one.number for one in edits] == sorted({one.number for one in edits})
    assert {one.function for one in edits[:2]} == {"broken", "other"}


def test_the_order_is_the_seeds() -> None:
    files = {"m.py": function("return a < b and a != b")}
    assert edits_of(files) == edits_of(files)
    assert edits_of(files, "1") != edits_of(files)


def test_what_cannot_be_taken_back_is_left_out() -> None:
    source = function("return a[99]")  # 100 is no place any more
    texts = {broken_text(source, one) for one in edits_of({"m.py": source})}
    assert function("return a[98]") in texts
    assert function("return a[100]") not in texts


def test_functions_that_no_test_executes_are_left_out() -> None:
    source = "import functools\n\n\n@functools.cache\n" + function("return a < b")
    assert {one.function for one in candidates({"m.py": source}, {("m.py", 4)}, seed="0")} == {
        "other"
    }
    assert not list(candidates({"m.py": source}, {("m.py", 5)}, seed="0"))


def test_a_function_is_named_among_others_of_its_file_in_their_order() -> None:
    names = ["get_one", "getOne", "two", "three", "four", "five"]
    source = "\n".join(f"def {name}(a, b):\n    return a + b - 1\n" for name in names)
    for one in edits_of({"m.py": source, "n.py": OTHER + "def six():\n    return 1 + 1\n"}):
        if one.path == "m.py":
            assert one.function in one.functions
            assert len(one.functions) == 4
            assert sorted(one.functions, key=names.index) == list(one.functions)
            assert not {"get_one", "getOne"} <= set(one.functions)
        else:
            assert one.functions == ("other", "six")


def test_a_lone_function_is_no_riddle() -> None:
    assert edits_of({"m.py": "def lone(a):\n    return a + 1 - 2\n"}) == []


def test_tests_and_packaging_are_no_source(tmp_path: Path) -> None:
    for name in ("pkg/a.py", "pkg/tests/b.py", "test_c.py", "setup.py", "docs/conf.py", "src/d.py"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x = 1\n")
    (tmp_path / "pkg" / "dos.py").write_bytes(b"x = 1\r\n")
    assert list(source_files(tmp_path)) == ["pkg/a.py", "src/d.py"]


def test_operators_have_names() -> None:
    assert [operator_of(text) for text in ("<", "7", "yes", "append", "or")] == [
        "comparison",
        "integer",
        "negation",
        "method",
        "boolean",
    ]
