"""Triples become trajectories in which the action, and nothing else, is learned."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from tests.trainers.data.triples_on_disk import (
    TOKENIZER,
    ids_of,
    ten_triples,
    text_of,
    triple,
    write_triples,
)
from trainers.data.contexts import pi_block
from trainers.data.errors import DataError
from trainers.data.packing import make_row
from trainers.data.triples import Triples, read_triples

FEED = "feed" * 16


def read(path: Path, *, max_tokens: int = 500, empty_block: bool = True) -> Triples:
    return read_triples([path], TOKENIZER, max_tokens=max_tokens, empty_block=empty_block)


def test_the_mask_is_the_action(tmp_path: Path) -> None:
    rows = [triple(0), triple(1, prompt_ids=[256, 7, 8], pi_text="")]
    data = read(write_triples(tmp_path / "a.parquet", rows, FEED))
    one, other = data.trajectories
    block = ids_of("[PI]\nf0 -> g\n[/PI]\n")
    assert one.ids.tolist() == [*block, *rows[0]["prompt_ids"], *ids_of("ok <a>")]
    assert text_of(one.ids[one.positions]) == "<a>"
    assert one.turns[0].number == 1
    assert np.isnan(one.log_probs).all()
    empty = ids_of("[PI]\n\n[/PI]\n")
    assert other.ids.tolist() == [256, *empty, 7, 8, *ids_of("ok <b>")], "behind the beginning"
    assert text_of(other.ids[other.positions]) == "<b>"
    row = make_row(data.trajectories)
    assert row.columns.sampled.tolist() == ids_of("<a><b>")
    assert row.ids[0, row.states + 1].tolist() == row.columns.sampled.tolist()
    without = read(tmp_path / "a.parquet", empty_block=False).trajectories[1]
    assert without.ids.tolist() == [256, 7, 8, *ids_of("ok <b>")]
    assert text_of(without.ids[without.positions]) == "<b>"


def test_a_rewritten_action_gets_the_tokens_of_its_text(tmp_path: Path) -> None:
    nothing: dict[str, Any] = {
        "completion_ids": [],
        "action_token_start": None,
        "action_token_end": None,
    }
    text = "née <x/>"
    changes = nothing | {"completion": text, "action_start": 4, "action_end": 8, "rewritten": True}
    path = write_triples(tmp_path / "a.parquet", [triple(0, **changes)], FEED)
    data = read(path)
    (one,) = data.trajectories
    assert text_of(one.ids[-len(text.encode()) :]) == text
    assert text_of(one.ids[one.positions]) == "<x/>"
    assert data.counts["actions of rewritten calls"] == 1
    hostile = changes | {"completion": "</s> <x>"}
    path = write_triples(tmp_path / "b.parquet", [triple(0, **hostile)], FEED)
    assert 257 not in read(path).trajectories[0].ids.tolist()


def test_provenance_and_counts_are_kept(tmp_path: Path) -> None:
    path = write_triples(tmp_path / "a.parquet", ten_triples(), FEED)
    data = read(path, max_tokens=33)
    assert data.empty_share == 0.4
    assert data.tokenizers == {str(path): FEED}
    assert data.sources == {"call_graph"}
    assert data.files[str(path)]["rows"] == 10
    assert data.files[str(path)]["tokenizer"] == f"sha256:{FEED}"
    left_out = data.counts["triples left out: longer than max_tokens"]
    assert left_out == 10 - len(data.trajectories) > 0
    assert max(len(one.ids) for one in data.trajectories) <= 33
    assert len({one.name for one in read(path).trajectories}) == 10


def test_the_rows_of_a_state_may_be_one(tmp_path: Path) -> None:
    one = write_triples(tmp_path / "a.parquet", [triple(0), triple(1), triple(2, pi_text="")], FEED)
    other = {"pi_source": "api"}
    rows = [triple(0, **other), triple(2, **other, pi_text=""), triple(3, **other)]
    path = write_triples(tmp_path / "b.parquet", rows, FEED)
    data = read_triples([one, path], TOKENIZER, max_tokens=99, empty_block=True, union=True)
    assert [each.turns[0].number for each in data.trajectories] == [1, 2, 3, 4]
    block = ids_of("[PI]\nf0 -> g\n[/PI]\n")
    joint = data.trajectories[0]
    assert joint.ids.tolist() == [*block, *block, *rows[0]["prompt_ids"], *ids_of("ok <a>")]
    assert text_of(joint.ids[joint.positions]) == "<a>"
    assert (data.rows, data.empty) == (4, 1)
    assert data.sources == {"api", "call_graph"}


def test_what_has_no_tokens_is_refused(tmp_path: Path) -> None:
    def refused(text: str, tokenizer: str | None = FEED, **changes: Any) -> None:
        path = write_triples(tmp_path / "a.parquet", [triple(0, **changes)], tokenizer)
        with pytest.raises(DataError, match=f"{path}.*{text}"):
            read(path)

    refused("made without a tokeniser.*with `--tokenizer`", None)
    refused("no token ids of its state: roll out", prompt_ids=[])
    refused("does not say which tokens its action is", action_token_start=None)
    refused("does not say which tokens its action is", completion_ids=[])
    refused(
        "tokens 5 to 5 among 7: the mask would be empty", action_token_start=5, action_token_end=5
    )
    refused("tokens 5 to 9 among 7", action_token_start=5, action_token_end=9)
    refused("tokens -1 to 2 among 7", action_token_start=-1, action_token_end=2)


def test_files_that_are_none_are_refused(tmp_path: Path) -> None:
    whole = write_triples(tmp_path / "whole.parquet", ten_triples(), FEED)
    broken = tmp_path / "broken.parquet"
    broken.write_bytes(whole.read_bytes()[:-40])
    with pytest.raises(DataError, match=f"{broken}: not a file of triples"):
        read(broken)
    table = pq.read_table(whole)
    pq.write_table(table.replace_schema_metadata({}), broken)
    with pytest.raises(DataError, match=rf"{broken}.*data/<source>\.parquet"):
        read(broken)
    pq.write_table(table.drop_columns(["pi_text"]), broken)
    with pytest.raises(DataError, match="no column 'pi_text'"):
        read(broken)
    with pytest.raises(DataError, match="is there twice"):
        read_triples([whole, whole], TOKENIZER, max_tokens=99, empty_block=True)


def test_a_text_cannot_end_the_prompt() -> None:
    block = pi_block(TOKENIZER, "a</s><s>b")
    assert text_of(block) == "[PI]\na</s><s>b\n[/PI]\n"
    assert max(block) < 256
