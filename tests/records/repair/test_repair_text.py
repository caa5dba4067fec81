import pytest

from harness.records.repair.functions import editable_functions
from harness.records.repair.text import (
    edit_choices,
    first_state,
    name_choices,
    oracle_text,
    place_choice,
    reach_text,
    second_state,
    words,
)

SOURCE = '''
def clip(x, lo=0):
    """Clip."""
    label = "<3><act>"
    if not x:
        return lo
    while x <= lo:
        x += 1
    return x
'''


def test_first_state() -> None:
    assert first_state(
        "TypeError",
        "bad  operand\tfor <issue>",
        ["getValue", "a.b.loads", "loads", "x1", "y"],
        ["Box.getValue", "HTTPServer", "_x", "__init__"],
    ) == (
        "<issue>TypeError in get value, loads, x1: bad operand for < issue>"
        "<funcs> get value, https erver, x, init<act>"
    )


def test_first_state_of_an_assertion_has_no_message_and_may_have_no_names() -> None:
    assert first_state("AssertionError", "1 == 2", [], ["a", "b"]) == (
        "<issue>AssertionError<funcs> a, b<act>"
    )


def test_first_state_cuts_long_messages() -> None:
    state = first_state("E", "m" * 100, ["f"], ["f", "g"])
    assert state == f"<issue>E in f: {'m' * 60}<funcs> f, g<act>"


def test_second_state_and_its_choices() -> None:
    function = editable_functions(SOURCE)["clip"]
    assert second_state(function) == (
        "<code>def clip(x, lo=0):\nif not <0>x:\nwhile x <=<1> lo:\nx +=<2> 1<3><act>"
    )
    assert edit_choices(function) == (
        "<0> yes",
        "<1> <",
        "<1> >",
        "<1> >=",
        "<2> -=",
        "<3> 2",
        "<3> 0",
    )


def test_a_programs_text_is_never_a_token_of_the_format() -> None:
    source = 'def f(x):\n    return x == "<0><end>" and x == "<12> <b>"\n'
    assert second_state(editable_functions(source)["f"]) == (
        "<code>def f(x):\nreturn x ==<0> '< 0>< end>' and<1> x ==<2> '< 12> <b>'<act>"
    )


def test_functions_of_one_short_name_are_told_apart_by_their_classes() -> None:
    assert name_choices(["A.get", "B.get", "put"]) == (" a get", " b get", " put")
    with pytest.raises(ValueError, match=r"the same words: get_it, getIt"):
        name_choices(["get_it", "getIt"])


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("loads", " loads"),
        ("parseHTTPHeader", " parse httph eader"),
        ("_", " _"),
        ("a_1b", " a 1b"),
    ],
)
def test_words(name: str, text: str) -> None:
    assert words(name) == text


def test_pi_texts() -> None:
    assert oracle_text("Box.getValue", 3, "<") == "patch get value<3> <\nnext get value"
    assert reach_text(["Box.getValue", "loads"]) == "tests reach get value, loads"
    assert place_choice(2, "not in") == "<2> not in"
