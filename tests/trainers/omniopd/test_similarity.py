"""Similarities of texts, against other libraries' figures and what must hold for any text."""

from typing import get_args

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from trainers.omniopd.similarity import SIMILARITIES, SimilarityName, trim, words

NAMES: tuple[SimilarityName, ...] = get_args(SimilarityName)
SYMMETRIC: tuple[SimilarityName, ...] = ("edit", "rouge_1", "rouge_l", "jaccard", "exact")
texts = st.text(alphabet="ab _1+-*/\n你好ア🙂é\ufffd", max_size=12) | st.text(max_size=12)

# By rouge-score 0.1.2, sacrebleu 2.6.0 (no smoothing, effective order, words apart) and
# nltk 3.10.4 (edit_distance, jaccard_distance), in the order of NAMES without `exact`.
KNOWN = [
    ("the cat sat on the mat", "the cat is on the mat today",
     (0.666667, 0.769231, 0.769231, 0.571429, 0.714286, 0.597614)),
    ("return ab if x else None", "return ab", (0.375, 0.5, 0.5, 0.333333, 0.135335, 0.135335)),
    ("one", "one two three", (0.230769, 0.5, 0.5, 0.333333, 0.333333, 0.0)),
    ("one two three", "one", (0.230769, 0.5, 0.5, 0.333333, 0.135335, 0.135335)),
    ("alpha beta gamma delta", "delta gamma beta alpha", (0.318182, 1.0, 0.25, 1.0, 1.0, 0.0)),
]  # fmt: skip


def test_every_name_has_a_similarity() -> None:
    assert tuple(SIMILARITIES) == NAMES


@pytest.mark.parametrize(("chunk", "continuation", "expected"), KNOWN)
def test_they_are_what_other_libraries_say(
    chunk: str, continuation: str, expected: tuple[float, ...]
) -> None:
    found = [SIMILARITIES[name](chunk, continuation) for name in NAMES[:-1]]
    assert found == pytest.approx(expected, abs=1e-6)


@settings(max_examples=60, deadline=None)
@given(texts)
@example("+ - * /")
@example("你好，世界")
@example("🙂🙃")
@example("\u0301")
@example("")
@example(" \n")
@example("one")
def test_a_text_is_wholly_like_itself(text: str) -> None:
    assert {name: SIMILARITIES[name](text, text) for name in NAMES} == dict.fromkeys(NAMES, 1.0)


@settings(max_examples=60, deadline=None)
@given(texts, texts)
def test_they_lie_between_0_and_1_and_most_are_symmetric(one: str, other: str) -> None:
    for name in NAMES:
        assert 0 <= SIMILARITIES[name](one, other) <= 1
    for name in SYMMETRIC:
        assert SIMILARITIES[name](one, other) == pytest.approx(SIMILARITIES[name](other, one))


@settings(max_examples=30, deadline=None)
@given(texts, st.lists(texts, max_size=4))
def test_all_of_a_chunk_is_one_after_another(chunk: str, continuations: list[str]) -> None:
    for name in NAMES:
        similarity = SIMILARITIES[name]
        assert similarity.all(chunk, continuations) == [
            similarity(chunk, each) for each in continuations
        ]


def test_nothing_is_like_nothing_alone() -> None:
    for name in NAMES:
        assert SIMILARITIES[name]("", "") == 1
        assert SIMILARITIES[name]("a b", "") == SIMILARITIES[name]("", "a b") == 0
    assert SIMILARITIES["rouge_1"]("\n", "  ") == 1  # no word in either
    assert SIMILARITIES["edit"]("\n", "  ") == SIMILARITIES["exact"]("\n", "  ") == 0


def test_words_are_words_or_single_characters() -> None:
    assert words("x_1 += naïve(2)\n") == ["x_1", "+", "=", "naïve", "(", "2", ")"]
    assert words("使用Python写，カナ") == ["使", "用", "Python", "写", "，", "カ", "ナ"]
    assert SIMILARITIES["rouge_1"]("+ -", "- *") == 0.5
    assert SIMILARITIES["jaccard"]("世界", "世间") == pytest.approx(1 / 3)


def test_bleu_takes_the_chunk_as_reference() -> None:
    bleu = SIMILARITIES["bleu_1"]
    assert bleu("a a b", "a a a b") == 0.75  # the third `a` is not in the chunk
    assert bleu("a a b", "a") == pytest.approx(0.135335, abs=1e-6)  # brevity, e^(1 - 3/1)
    assert SIMILARITIES["bleu_2"]("a b c", "a b") == pytest.approx(0.606531, abs=1e-6)
    assert SIMILARITIES["bleu_2"]("a", "a b") == 0


def test_a_continuation_is_compared_up_to_the_chunks_length() -> None:
    assert trim("abcdef", 4) == "abcd"
    assert trim("ab", 4) == "ab"
    assert trim("你好吗", 2) == "你好"
    assert trim("abcdef", 0) == ""


def test_half_a_character_at_its_end_is_left_out() -> None:
    half = "好🙂".encode()[:-1].decode(errors="replace")
    assert trim(half, 10) == "好"
    assert trim("a\ufffd\ufffd\ufffd", 2) == "a"  # one for each byte
    assert trim("a\ufffdb", 2) == "a\ufffd"  # no end: that is what the teacher wrote
