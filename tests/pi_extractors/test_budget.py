"""Cutting to a budget."""

from hypothesis import given
from hypothesis import strategies as st

from pi_extractors.budget import BUDGETS, Block, fit_blocks, fit_lines, render
from pi_extractors.records import SourceName
from pi_extractors.tokens import Estimate


class Words:
    """A token is a word: budgets are easy to see."""

    name = "words"

    def count(self, text: str) -> int:
        return len(text.split())


MARKER_WORDS = 12

texts = st.lists(st.sampled_from(["one", "two words", "", "x" * 30, "a\tb"]), min_size=1).map(
    "\n".join
)
blocks = st.lists(
    st.builds(
        Block,
        text=texts,
        rank=st.integers(0, 3),
        heads=st.sampled_from([(), ("# a.py",), ("# a.py", "class A:"), ("# b.py",)]),
        divisible=st.booleans(),
    ),
    max_size=12,
)


@given(blocks, st.integers(0, 120))
def test_texts_stay_within_the_budget_in_whole_lines(
    given_blocks: list[Block], budget: int
) -> None:
    for counter in (Words(), Estimate()):
        fitted = fit_blocks(given_blocks, budget, counter)
        assert fitted.tokens == counter.count(fitted.text) <= budget
        lines = {line for block in given_blocks for line in (*block.text.split("\n"), *block.heads)}
        shown = fitted.text.split("\n") if fitted.text else []
        marked = [line for line in shown if line.startswith("[cut to fit: ")]
        assert set(shown) <= lines | set(marked)
        assert len(marked) == (1 if fitted.truncated and shown else 0)
        assert fitted.truncated == (fitted.text != render(given_blocks))


@given(texts, st.integers(0, 60))
def test_lines_are_kept_from_the_first(text: str, budget: int) -> None:
    fitted = fit_lines(text, budget, Words())
    assert fitted.tokens == Words().count(fitted.text) <= budget
    if fitted.truncated and fitted.text:
        kept, _, marker = fitted.text.rpartition("\n")
        assert text.startswith(f"{kept}\n")
        assert marker.startswith("[cut to fit: ")
    elif not fitted.truncated:
        assert fitted.text == text


def test_all_fit_as_they_are() -> None:
    fitted = fit_blocks([Block("a b", 1), Block("c")], 3, Words())
    assert (fitted.text, fitted.tokens, fitted.truncated) == ("a b\nc", 3, False)


def test_the_most_important_are_kept_in_the_given_order() -> None:
    given_blocks = [Block(f"{number} " * 10, rank) for number, rank in enumerate((3, 0, 2, 1))]
    fitted = fit_blocks(given_blocks, 2 * 10 + MARKER_WORDS, Words(), unit="tests")
    assert fitted.text.split("\n") == [
        given_blocks[1].text,
        given_blocks[3].text,
        "[cut to fit: 2 of 4 tests left out or cut short]",
    ]
    assert fitted.left_out == 2


def test_a_large_block_does_not_keep_smaller_ones_out() -> None:
    given_blocks = [Block("a " * 50, 0), Block("b " * 80, 1), Block("c " * 50, 2)]
    fitted = fit_blocks(given_blocks, 100 + MARKER_WORDS, Words())
    assert "a a" in fitted.text
    assert "b" not in fitted.text.split("[cut")[0]
    assert "c c" in fitted.text


def test_heads_are_shown_once_and_paid_for() -> None:
    given_blocks = [
        Block("one", heads=("# a.py", "class A:")),
        Block("two", heads=("# a.py", "class A:")),
        Block("three", heads=("# a.py",)),
        Block("four", heads=("# b.py",)),
    ]
    fitted = fit_blocks(given_blocks, 100, Words())
    assert fitted.text == "# a.py\nclass A:\none\ntwo\nthree\n# b.py\nfour"
    heavy = [Block("a", heads=("h " * 50,)), Block("b", 1)]
    assert fit_blocks(heavy, 2 + MARKER_WORDS, Words()).text.startswith("b\n[cut")


def test_only_divisible_blocks_are_cut_between_lines() -> None:
    long = "\n".join(f"line {number}" for number in range(50))
    whole = [Block("first"), Block(long, 1)]
    parts = [Block("first"), Block(long, 1, divisible=True)]
    assert fit_blocks(whole, 40, Words()).text.split("\n")[:-1] == ["first"]
    cut = fit_blocks(parts, 40, Words())
    assert cut.text.split("\n")[1:4] == ["line 0", "line 1", "line 2"]
    assert cut.left_out == 1


def test_the_first_block_is_cut_rather_than_nothing_shown() -> None:
    long = "\n".join(f"line {number}" for number in range(50))
    assert "line 0\nline 1" in fit_blocks([Block(long), Block("x" * 9, 1)], 40, Words()).text


def test_too_small_a_budget_gives_an_empty_text() -> None:
    for budget in range(MARKER_WORDS):
        fitted = fit_blocks([Block("a " * 50)], budget, Words())
        assert (fitted.text, fitted.tokens, fitted.truncated) == ("", 0, True)
    assert fit_blocks([], 0, Words()).truncated is False


def test_every_source_has_a_budget() -> None:
    assert set(BUDGETS) == set(SourceName)
