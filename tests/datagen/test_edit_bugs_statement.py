import pytest

from harness.datagen.edit_bugs_statement import (
    called_functions,
    defined_functions,
    first_line,
    statement,
)

TEST = """\
import pkg


@pkg.mark
def test_it(tmp_path):
    data = pkg.load(str(tmp_path))
    with raises(ValueError):
        pkg.Box(data).dump(
            pkg.sign(data)
        )
    pkg.load(load)
"""
NAMES = {"load", "dump", "sign", "raise_it"}


def test_the_form_of_a_statement() -> None:
    text = statement(
        exception="TypeError",
        message="unsupported operand\n+ where",
        called=["loads", "sign"],
        path="src/pkg/box.py",
        functions=["Box.loads", "dump"],
    )
    assert text == (
        "TypeError: unsupported operand\n"
        "Seen when calling `loads`, `sign`.\n"
        "The cause is in one of these functions of `src/pkg/box.py`: `Box.loads`, `dump`.\n"
    )


def test_what_is_not_known_is_left_out() -> None:
    text = statement(exception="KeyError", message="", called=[], path="a.py", functions=["f", "g"])
    assert text == "KeyError:\nThe cause is in one of these functions of `a.py`: `f`, `g`.\n"


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ("assert 1 == 2\n +  where 1 = f()", "assert 1 == 2"),
        ("\n  <Box object at 0x7f00deadbeef>  is   bad", "<Box object at 0x…> is bad"),
        ("no file '/tmp/pytest-of-x/a/b.txt' here", "no file '/tmp/…' here"),
        ("bell \x07 and `tick`", "bell  and `tick`"),
        ("x" * 300, "x" * 199 + "…"),
    ],
)
def test_a_message_is_one_line_that_is_the_same_everywhere(message: str, shown: str) -> None:
    assert first_line(message) == shown


def test_the_failed_statements_calls_come_first() -> None:
    assert called_functions(TEST, 4, 9, NAMES) == ["dump", "sign", "load"]
    assert called_functions(TEST, 5, 6, NAMES) == ["load", "dump", "sign"]
    assert called_functions(TEST, 4, 0, {"sign"}) == ["sign"]


def test_a_test_that_is_not_there_calls_nothing() -> None:
    assert called_functions(TEST, 1, 0, NAMES) == []


def test_special_methods_are_no_names_of_a_report() -> None:
    source = "class A:\n    def __init__(self): ...\n    async def run(self): ...\ndef f(): ...\n"
    assert defined_functions([source, "def g(): ..."]) == {"run", "f", "g"}
