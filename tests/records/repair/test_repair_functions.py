import ast
import gc
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from harness.records.repair.functions import (
    MAX_CHARACTERS,
    MAX_SOURCE_CHARACTERS,
    RepairSourceError,
    editable_functions,
    find_edit,
)
from harness.records.repair.places import edited

SOURCE = '''
import os


class Box:
    """A box."""

    @property
    def size(self) -> int:
        return 1 + len(self.x)

    @size.setter
    def size(self, value: int) -> None:
        self.x = value + 1 + 2

    def fits(self, é: "str", other: int = 3) -> bool:
        """Whether `a < b`."""
        # a comment with a < b
        total: int = 0x10 - 2
        for one in é:
            if not one:
                continue
            total += len(one)  # and more
        return (total) <= (self.limit) and other is not None


def outer(items):
    def inner(x):
        return x > 99
    if items:
        return any(inner(i) for i in items.keys())
    return "%s" % min(items)
'''


def places(name: str, source: str = SOURCE) -> list[tuple[str, tuple[str, ...]]]:
    return [(one.text, one.choices) for one in editable_functions(source)[name].real]


def test_places_of_a_method_in_the_order_of_their_text() -> None:
    assert places("Box.fits") == [
        ("-", ("+",)),
        ("2", ("3", "1")),
        ("not", ("yes",)),
        ("continue", ("break",)),
        ("+=", ("-=",)),
        ("<=", ("<", ">", ">=")),
        ("and", ("or",)),
        ("is not", ("is",)),
    ]


def test_places_reach_into_inner_functions_but_not_into_text_formatting() -> None:
    assert places("outer") == [
        (">", ("<", "<=", ">=")),
        ("99", ("100", "98")),
        ("yes", ("not",)),
        ("any", ("all",)),
        ("keys", ("values", "items")),
        ("min", ("max",)),
    ]


def test_a_name_that_is_defined_twice_is_left_out() -> None:
    assert list(editable_functions(SOURCE)) == ["Box.fits", "outer"]
    assert list(editable_functions(SOURCE, ["outer", "absent"])) == ["outer"]


@pytest.mark.parametrize("name", ["Box.fits", "outer"])
def test_every_edit_changes_the_tree_and_can_be_taken_back(name: str) -> None:
    function = editable_functions(SOURCE)[name]
    for number, place in enumerate(function.real):
        for choice in place.choices:
            broken = edited(SOURCE, place, choice)
            assert ast.dump(ast.parse(broken)) != ast.dump(ast.parse(SOURCE))
            again = editable_functions(broken).get(name)
            if choice == "100":  # outside of the numbers that are places
                assert again is None or len(again.real) < len(function.real)
                continue
            assert again is not None
            assert find_edit(again, broken, SOURCE) == (number, place.text)
            assert edited(again.text, again.shown[number], place.text) == function.text


def test_no_edit_is_found_where_none_leads_to_the_fixed_text() -> None:
    function = editable_functions(SOURCE)["outer"]
    assert find_edit(function, SOURCE, SOURCE + "\n") is None


def test_a_choice_must_be_one_of_the_place() -> None:
    place = editable_functions(SOURCE)["outer"].real[0]
    with pytest.raises(ValueError, match="'==' is none of <, <=, >="):
        edited(SOURCE, place, "==")


def test_a_place_between_lines_or_comments_is_left_out() -> None:
    source = "def f(a, b, c):\n    return (a  # <\n        < b) and c == 1\n"
    assert [text for text, _ in places("f", source)] == ["and", "==", "1"]
    assert [one.text for one in editable_functions(source)["f"].shown] == ["and", "==", "1"]


def test_long_functions_and_those_of_few_or_many_places_are_left_out() -> None:
    line = "    x = a + b\n"
    assert not editable_functions("def f(a, b):\n" + line)
    assert editable_functions("def f(a, b):\n" + line * 8)
    assert not editable_functions("def f(a, b):\n" + line * 9)
    long = f"    y = {'z' * MAX_CHARACTERS!r}\n"
    assert not editable_functions("def f(a, b):\n" + line * 2 + long)


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("def f(:\n", "SyntaxError"),
        ("x = " + "(" * 5000 + ")" * 5000, "no Python file"),
        ("x = " + "-" * 200_000 + "1", "no Python file"),
        ("def f():\n  return " + "+".join(["a"] * 20_000), "no Python file"),
        ("#" * (MAX_SOURCE_CHARACTERS + 1), "characters; at most"),
        ("a\0b", "no Python file"),
    ],
    ids=["syntax", "nested", "unary", "deep", "large", "nul"],
)
def test_a_file_that_cannot_be_read_is_an_error(source: str, problem: str) -> None:
    with pytest.raises(RepairSourceError, match=problem):
        editable_functions(source)


def test_windows_line_ends_and_wide_characters_keep_their_bytes() -> None:
    source = SOURCE.replace("\n", "\r\n")
    place = editable_functions(source)["Box.fits"].real[5]
    assert edited(source, place, ">") == source.replace("(total) <= (", "(total) > (")


def test_files_are_read_in_several_threads() -> None:
    """CPython 3.11 fails in `ast.parse` when threads change in it, as a collection may do."""

    def pause(phase: str, info: dict[str, int]) -> None:
        time.sleep(0)

    deep = f"def f(a, b):\n    return {'(' * 40}a{' + b)' * 40} < 2\n"
    sources = [deep * 10 + SOURCE] * 16
    gc.callbacks.append(pause)
    try:
        with ThreadPoolExecutor(4) as pool:
            found = list(pool.map(lambda text: list(editable_functions(text, ["outer"])), sources))
    finally:
        gc.callbacks.remove(pause)
    assert found == [["outer"]] * len(sources)
