"""Code n-grams: what only a patch brings, found in any shape, hashed as exactly as compared."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.leakage.ngrams import SHORT, Index, N, grams, oracle, plain, tokens
from pi_extractors.base import ExtractionError
from tests.leakage.audit_inputs import OLD_CODE, PATCH, added, varied

GOLD = oracle("one", "patch", PATCH, known=[])
INDEX = Index([GOLD])


def test_tokens_are_the_same_in_a_file_a_diff_a_numbered_listing_and_json() -> None:
    code = 'if x["side"] < 0:\n    raise ValueError("negative")'
    plain_tokens = tokens(code)
    assert plain_tokens[:6] == ["if", "x", "[", '"', "side", '"']
    assert tokens("\n".join("+" + line for line in code.splitlines())) == plain_tokens
    numbered = "\n".join(f"{n:6}\t{line}" for n, line in enumerate(code.splitlines(), start=12))
    assert tokens(numbered) == plain_tokens
    assert tokens(code.replace('"', '\\"').replace("\n", "\\n")) == plain_tokens
    assert tokens(code.replace('"', '\\\\\\"').replace("\n", "\\\\n")) == plain_tokens


@pytest.mark.parametrize("text", [PATCH, added(), "a\n" * 40 + added() + "\nb"])
def test_the_whole_patch_is_found_in_each_of_its_shapes(text: str) -> None:
    assert GOLD.share(INDEX.find(tokens(text))) > 0.9


def test_old_code_and_other_code_have_none_of_it() -> None:
    assert INDEX.find(tokens(OLD_CODE)) == []
    assert len(INDEX.find(tokens(varied(2)))) <= 1  # where the old code ends and `if` begins


def test_half_of_the_lines_are_about_half_of_it() -> None:
    lines = added().splitlines()
    found = INDEX.find(tokens("\n".join(lines[: len(lines) // 2])))
    assert 0.2 < GOLD.share(found) < 0.6


def test_what_the_issue_says_is_not_the_patchs_own() -> None:
    told = oracle("one", "patch", PATCH, known=[f"It should be:\n{added()}"])
    assert len(told.marks) < 0.2 * len(GOLD.marks)


def test_a_patch_that_only_removes_has_no_ngrams() -> None:
    diff = "--- a/a.py\n+++ b/a.py\n@@ -1,2 +1,1 @@\n import os\n-import sys\n"
    assert oracle("one", "patch", diff, known=[]).share([]) == 0.0


def test_text_that_is_no_diff_is_refused() -> None:
    with pytest.raises(ExtractionError, match="one: patch"):
        oracle("one", "patch", "not a diff", known=[])


def test_a_plain_text_is_all_its_own() -> None:
    text = plain("one", OLD_CODE, field="training PI")
    assert text.share(Index([text]).find(tokens(f"x = 1\n{OLD_CODE}"))) == 1.0


WORDS = st.lists(st.sampled_from([*set(tokens(added())), "other", "!"]), max_size=60)


@given(WORDS)
def test_an_index_finds_exactly_what_a_comparison_finds(words: list[str]) -> None:
    assert set(INDEX.find(words)) == set(grams(words, N)) & GOLD.marks.keys()
    short = frozenset().union(*GOLD.marks.values())
    assert set(INDEX.find_short(words)) == set(grams(words, SHORT)) & short


def test_an_empty_index_finds_nothing() -> None:
    assert Index([]).find(tokens(PATCH)) == []
