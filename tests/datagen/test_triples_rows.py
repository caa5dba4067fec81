"""How many rows are empty, and where an action's tokens are."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.datagen.triples_actions import read_answer
from harness.datagen.triples_share import Share, assign, empty_count
from harness.datagen.triples_spans import TokenSpans
from tests.datagen.trajectories import Turn, response


@pytest.mark.parametrize(
    ("rows", "share", "count"), [(5, 0.5, 3), (8, 0.4, 3), (10, 0.4, 4), (1, 0.4, 0), (2, 0.25, 1)]
)
def test_the_share_is_rounded_half_up(rows: int, share: float, count: int) -> None:
    """Exactly, not as a binary fraction."""
    assert empty_count(rows, share) == count


@given(
    st.dictionaries(st.text("0123456789abcdef", min_size=1), st.booleans(), max_size=60),
    st.sampled_from([0.0, 0.1, 0.25, 0.4, 0.5, 0.9]),
)
def test_the_share_of_empty_rows_is_exact(empty: dict[str, bool], share: float) -> None:
    """Whatever is empty anyway; and whatever the order."""
    decided = assign(empty, share, "salt")
    kept = [one for one in decided if decided[one] is not Share.SURPLUS]
    without = [one for one in kept if decided[one] is not Share.GIVEN]
    assert len(without) == empty_count(len(kept), share)
    assert assign(dict(reversed(empty.items())), share, "salt") == decided
    assert all((decided[one] in (Share.EMPTY, Share.SURPLUS)) == empty[one] for one in empty)
    if any(one is Share.SURPLUS for one in decided.values()):
        assert Share.BLANKED not in decided.values()


def test_a_token_across_the_edge_belongs_to_the_action(tmp_path: Path) -> None:
    """As `!``` ` before a command."""
    tokenizers = pytest.importorskip("tokenizers")
    made = tokenizers.Tokenizer(tokenizers.models.BPE())
    made.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = tokenizers.decoders.ByteLevel()
    text = "Go!```bash\nls\n```"
    made.train_from_iterator([text] * 9, tokenizers.trainers.BpeTrainer(vocab_size=300))
    made.save(str(tmp_path / "tokenizer.json"))
    ids = made.encode(text).ids
    answer = read_answer(json.dumps(response(Turn(text))).encode())
    assert answer is not None
    span = TokenSpans(tmp_path / "tokenizer.json").find(ids, answer, 0)
    assert span is not None
    assert made.decode(ids[span.start :]) == "!```bash\nls\n```"
