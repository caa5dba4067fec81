import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.records.repair.statement import Statement, StatementError, read_statement

TEXT = (
    "errors.BadThing: it: is `odd`\n"
    "Seen when calling `loads`, `Box.sign`.\n"
    "The cause is in one of these functions of `src/pkg/mod.py`: `dump`, `Box.load`, `é_1`, `pad`."
)
STATEMENT = Statement(
    exception="BadThing",
    message="it: is `odd`",
    called=("loads", "Box.sign"),
    path="src/pkg/mod.py",
    functions=("dump", "Box.load", "é_1", "pad"),
)


def test_statement_is_read() -> None:
    assert read_statement(TEXT + "\n\n") == STATEMENT


def test_exception_alone() -> None:
    lines = TEXT.split("\n")
    for first in ("AssertionError", "AssertionError:", "AssertionError: "):
        read = read_statement(f"{first}\n{lines[2]}")
        assert (read.exception, read.message, read.called) == ("AssertionError", "", ())


@given(
    st.from_regex(r"[A-Z][a-zA-Z]{0,20}", fullmatch=True),
    st.text(max_size=200),
    st.lists(st.from_regex(r"[a-z_]\w{0,5}(\.[a-z_]\w{0,5})?", fullmatch=True), max_size=3),
)
def test_what_is_rendered_is_read_back(exception: str, message: str, called: list[str]) -> None:
    made = Statement(exception, message, tuple(called), "a b/c.py", ("f", "g"))
    read = read_statement(made.render())
    assert read == Statement(
        exception, " ".join(message.split()), made.called, made.path, ("f", "g")
    )


def test_a_name_that_would_not_be_read_back_is_not_rendered() -> None:
    with pytest.raises(StatementError, match="cannot be read back"):
        Statement("E", "", (), "m.py", ("a`, `b", "c")).render()


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("Some issue.\n\nIt does not work.", "the last line is not"),
        (TEXT.replace("errors.BadThing:", "Some words:"), "names no exception type"),
        (TEXT.replace("Seen when calling", "Seen in"), "the second line is not"),
        (TEXT.replace("src/pkg/mod.py", "../mod.py"), "no path inside"),
        (TEXT.replace("src/pkg/mod.py", "/etc/mod.py"), "no path inside"),
        (TEXT.replace("`dump`, `Box.load`, `é_1`, `pad`", "`dump`"), "it names 1 functions"),
        (TEXT.replace("`Box.load`", "`dump`"), "distinct"),
        (TEXT.replace("`pad`", "`pa d`"), "no function's name"),
        ("\n" + TEXT.split("\n")[2], "names no exception type"),
        (TEXT + "`" * 4000, "characters; a repair statement has at most"),
        ("", "the last line is not"),
    ],
)
def test_other_statements_are_refused(text: str, problem: str) -> None:
    with pytest.raises(StatementError, match=problem):
        read_statement(text)
