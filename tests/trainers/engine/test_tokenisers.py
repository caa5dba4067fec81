"""Ids that models share are found; what they do not share is refused."""

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import PreTrainedTokenizerFast

from tests.trainers.engine.material import VOCABULARY, write_model
from tests.trainers.tiny import byte_tokenizer
from trainers.data.errors import DataError
from trainers.data.runs import RunData
from trainers.data.trajectories import Trajectory, Turn
from trainers.engine.errors import MismatchError
from trainers.engine.networks import Network, load_frozen
from trainers.engine.tokenisers import check_ids, check_runs, shared_vocabulary


def network(
    folder: Path, tokenizer: PreTrainedTokenizerFast | None = None, size: int = VOCABULARY
) -> Network:
    write_model(folder, 0, tokenizer, vocab_size=size)
    return load_frozen(str(folder), "float32", None, torch.device("cpu"))


def test_padded_vocabularies_are_cut(tmp_path: Path) -> None:
    one, other = network(tmp_path / "a", size=VOCABULARY + 6), network(tmp_path / "b")
    assert shared_vocabulary(one, {}) == VOCABULARY + 6
    assert shared_vocabulary(one, {"teacher": other}) == VOCABULARY
    assert shared_vocabulary(other, {"teacher": one}) == VOCABULARY


def test_tokens_of_one_alone_are_cut(tmp_path: Path) -> None:
    longer = byte_tokenizer()
    longer.add_tokens(["<tool>"])
    one = network(tmp_path / "a", longer, VOCABULARY + 1)
    other = network(tmp_path / "b", size=VOCABULARY + 1)
    assert shared_vocabulary(one, {"teacher": other}) == VOCABULARY
    assert shared_vocabulary(other, {"teacher": one}) == VOCABULARY


def test_different_tokenisers_are_refused(tmp_path: Path) -> None:
    different = byte_tokenizer()
    text = different.backend_tokenizer.to_str().replace('"A":', '"@@":').replace('"B":', '"A":')
    different = PreTrainedTokenizerFast(
        tokenizer_object=type(different.backend_tokenizer).from_str(text.replace('"@@":', '"B":'))
    )
    one, other = network(tmp_path / "a"), network(tmp_path / "b", different)
    with pytest.raises(MismatchError, match=r"id \d+ is 'A' in .*/a and 'B' in the teacher's .*/b"):
        shared_vocabulary(one, {"teacher": other})


def test_runs_of_another_tokeniser_are_refused(tmp_path: Path) -> None:
    model = network(tmp_path / "a")
    check_runs(RunData(tokenizers={"runs/x": model.source.tokenizer_sha256}), [model])
    with pytest.raises(MismatchError, match=r"runs/x was sampled with a tokeniser feed"):
        check_runs(RunData(tokenizers={"runs/x": "feed" * 16}), [model])


def test_ids_that_models_do_not_have_are_refused() -> None:
    def one(ids: list[int]) -> list[Trajectory]:
        array = np.array(ids, np.int32)
        turns = (Turn(1, 2, 1, 1),)
        return [Trajectory("r/i/0#0", "i", "student", array, turns, np.zeros(3, np.float32))]

    check_ids(one([9, 4, 9]), 10, 5)
    with pytest.raises(DataError, match="r/i/0#0 has a sampled token 5, beyond the 5 ids"):
        check_ids(one([0, 5, 0]), 10, 5)
    with pytest.raises(DataError, match="token id 10, but the student's vocabulary ends at 9"):
        check_ids(one([0, 1, 10]), 10, 5)
