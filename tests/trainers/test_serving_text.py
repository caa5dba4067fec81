"""Decoding piece by piece gives the whole text, up to the first stop string."""

from hypothesis import given
from hypothesis import strategies as st

from tests.trainers.tiny import byte_tokenizer
from trainers.serving.text import TextStream

TOKENIZER = byte_tokenizer()


def pieces(text: str, stop: list[str]) -> tuple[list[str], bool]:
    stream = TextStream(TOKENIZER.backend_tokenizer, stop)
    found = []
    for token in TOKENIZER(text, add_special_tokens=False)["input_ids"]:
        found.append(stream.push(token))
        if stream.stopped:
            return found, True
    return [*found, stream.flush()], False


@given(st.text(alphabet="abé🎉 \n", max_size=30), st.lists(st.text("abé", min_size=1), max_size=3))
def test_pieces_are_the_text_before_the_first_stop(text: str, stop: list[str]) -> None:
    ends = [text.find(one) + len(one) for one in stop if one in text]
    found, stopped = pieces(text, stop)
    assert stopped == bool(ends)
    if not ends:
        assert "".join(found) == text
    else:
        first_complete = text[: min(ends)]
        starts = [first_complete.find(one) for one in stop if one in first_complete]
        assert "".join(found) == text[: min(starts)]


def test_a_possible_stop_is_held_back() -> None:
    assert pieces("a<enz", ["<end>"])[0] == ["a", "", "", "", "<enz", ""]


def test_a_character_comes_when_it_is_complete() -> None:
    assert [piece for piece in pieces("é", [])[0] if piece] == ["é"]


def test_special_tokens_are_left_out() -> None:
    stream = TextStream(TOKENIZER.backend_tokenizer, [])
    ids = [TOKENIZER.bos_token_id, *TOKENIZER("hi")["input_ids"], TOKENIZER.eos_token_id]
    assert "".join(stream.push(token) for token in ids) + stream.flush() == "hi"
