"""Small models trained from scratch on made-up repairs."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from harness.records.repair.text import CONTROL_TOKENS, END, PLACE_TOKENS
from trainers.data.contexts import pi_block
from trainers.small.corpus import Corpus, load_corpus
from trainers.small.episodes import batch_rows
from trainers.small.evaluate import score
from trainers.small.recipe import Recipe, RecipeError, Stage, StageKind, load_recipe
from trainers.small.train import SmallTraining

NAMES, PLACES, REPAIRS = StageKind.NAMES, StageKind.PLACES, StageKind.REPAIRS
RECIPE = Recipe(
    vocabulary=320,
    layers=1,
    width=16,
    heads=2,
    rows=4,
    warm_up=2,
    stages=(Stage(kind=NAMES, steps=8), Stage(kind=REPAIRS, steps=4)),
)


def write_corpus(path: Path, files: int = 6) -> Path:
    rows = []
    for file in range(files):
        for name in ("load", "dump all", "Box.get"):
            name = name.replace(" ", f"{file}_")
            shown = f"<code>def {name[-3:]}(x):\nif x {{}}<0> {file} and<1> x:<act>"
            broken = {"state": shown.format("<="), "action": "<0> <"}
            rows.append(
                {
                    "package": "p",
                    "path": f"{file}.py",
                    "name": name,
                    "state": shown.format("<"),
                    "places": ["<", "and"],
                    "broken": [broken, {"state": shown.format("<") + " ", "action": "<1> and"}],
                }
            )
    pq.write_table(pa.Table.from_pylist(rows), path)
    return path


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    return load_corpus(write_corpus(tmp_path / "corpus.parquet"))


def test_files_are_trained_on_or_held_out(corpus: Corpus) -> None:
    assert (len(corpus.files), len(corpus.held_out)) == (5, 1)
    assert not {one.state for one in corpus.functions} & {
        one.state for file in corpus.held_out for one in file
    }


def test_a_file_that_is_no_corpus_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.parquet").write_bytes(b"no")
    with pytest.raises(RecipeError, match=r"x\.parquet"):
        load_corpus(tmp_path / "x.parquet")
    with pytest.raises(RecipeError, match="1 files"):
        load_corpus(write_corpus(tmp_path / "one.parquet", files=1))


def test_rows_weigh_what_a_stage_teaches(corpus: Corpus) -> None:
    for row in batch_rows(corpus.files, NAMES, 20, "s"):
        assert [piece.weight for piece in row] == [0, 1]
        assert row[1].text.removesuffix(END) in row[0].text
    for row in batch_rows(corpus.files, REPAIRS, 20, "s"):
        at = next(i for i, piece in enumerate(row) if piece.text.startswith("<code>"))
        assert row[at].weight == 0
        assert row[at + 1].text in ("<0> <<end>", "<1> and<end>")
        assert [piece.weight for piece in row[at + 1 :]] == [1, 0, 0.3, 0]
        assert row[at + 2].text != row[at + 1].text[:3]
    for row in batch_rows(corpus.files, PLACES, 20, "s"):
        told = [piece.text for piece in row if piece.weight == 1 and "<end>" not in piece.text]
        assert sorted(told) == [" <", " and"]


def test_most_reports_name_the_broken_function_and_some_do_not(corpus: Corpus) -> None:
    rows = list(batch_rows(corpus.files, NAMES, 400, "s"))
    named = [row[1].text.removesuffix(END) in row[0].text.partition("<funcs>")[0] for row in rows]
    assert 0.7 < sum(named) / 400 < 0.95
    assert rows == list(batch_rows(corpus.files, NAMES, 400, "s"))


def test_an_interrupted_training_ends_with_the_same_weights(corpus: Corpus, tmp_path: Path) -> None:
    whole = SmallTraining(RECIPE, corpus, tmp_path / "whole")
    for rows in whole.batches(0):
        whole.run_step(rows)
    for stop in (5, 12):
        training = SmallTraining(RECIPE, corpus, tmp_path / "parts")
        for rows in training.batches(training.step):
            training.run_step(rows)
            if training.step == stop:
                training.save()
                break
    assert training.step == whole.step == 12
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, training.model.state_dict()[name]), name
    with pytest.raises(RecipeError, match="another recipe"):
        SmallTraining(RECIPE.model_copy(update={"seed": 1}), corpus, tmp_path / "parts")


def test_an_exported_model_is_asked_as_a_chat(corpus: Corpus, tmp_path: Path) -> None:
    training = SmallTraining(RECIPE, corpus, tmp_path)
    folder = training.snapshot()
    model = AutoModelForCausalLM.from_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert model.dtype == torch.bfloat16
    chat = [
        {"role": "user", "content": "<issue>KeyError in get<funcs> get, put<act>"},
        {"role": "assistant", "content": " get"},
        {"role": "user", "content": "<code>def get(x):\nif x <=<0> y:<act>"},
    ]
    text = tokenizer.apply_chat_template(chat, tokenize=False)
    assert text == chat[0]["content"] + " get<end>" + chat[2]["content"]
    ids = tokenizer(text)["input_ids"]
    parts = [tokenizer(part)["input_ids"] for part in (chat[0]["content"], " get<end>")]
    assert ids[: sum(map(len, parts))] == parts[0] + parts[1]
    assert tokenizer.decode(ids) == text
    assert tokenizer.eos_token == END
    assert len(tokenizer) <= 320
    for token in (*CONTROL_TOKENS, *PLACE_TOKENS):
        assert len(tokenizer(token)["input_ids"]) == 1, token


def test_privileged_information_may_name_a_place_but_not_end_a_turn(
    corpus: Corpus, tmp_path: Path
) -> None:
    tokenizer = SmallTraining(RECIPE, corpus, tmp_path).tokenizer
    assert tokenizer.convert_tokens_to_ids("<3>") in pi_block(tokenizer, "patch get<3> <")
    assert tokenizer.eos_token_id not in pi_block(tokenizer, "a<end>b")
    answer = tokenizer("<3> <<end>")["input_ids"]
    assert tokenizer.decode(answer, skip_special_tokens=True) == "<3> <"


def test_training_learns_and_its_score_says_so(corpus: Corpus, tmp_path: Path) -> None:
    recipe = RECIPE.model_copy(
        update={"stages": (Stage(kind=REPAIRS, steps=80),), "width": 32, "learning_rate": 0.01}
    )
    training = SmallTraining(recipe, corpus, tmp_path)
    losses = [training.run_step(rows) for rows in training.batches(0)]
    assert sum(losses[-8:]) < 0.5 * sum(losses[:8])
    found = score(training.model, training.tokenizer, corpus.held_out, 60)
    assert found.chance == 0.5
    assert found.place > 0.8


def test_the_rate_warms_up_holds_and_falls() -> None:
    rates = [RECIPE.rate_at(step) for step in range(12)]
    assert rates[0] == RECIPE.learning_rate / 2
    assert rates[1] == rates[3] == RECIPE.learning_rate
    assert rates[4:] == sorted(rates[4:], reverse=True)
    assert 0 < rates[-1] < RECIPE.learning_rate / 5
    assert [RECIPE.stage_at(step) for step in (7, 8)] == [NAMES, REPAIRS]


def test_a_recipe_with_an_unknown_key_is_named(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text("stages: [{kind: names, steps: 8}]\nlearnin: 1\n")
    with pytest.raises(RecipeError, match=r"r\.yaml.*\n.*learnin"):
        load_recipe(tmp_path / "r.yaml")
