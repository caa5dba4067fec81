"""A model on this machine, against what its own forward pass says."""

from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from tests.trainers.engine.material import write_model
from tests.trainers.omniopd.teachers.scripted import QUESTION, ask
from tests.trainers.tiny import TEMPLATE, byte_tokenizer
from trainers.engine.errors import MismatchError, TeacherError
from trainers.engine.networks import Network, load_frozen
from trainers.omniopd.settings import LocalTextSettings
from trainers.omniopd.similarity import SIMILARITIES, trim
from trainers.omniopd.teachers.local import LocalTextTeacher
from trainers.omniopd.teachers.parts import Part
from trainers.omniopd.teachers.rendering import prompt_ids, rendered
from trainers.omniopd.texts import Answer, Ask

CPU = torch.device("cpu")


def teacher(folder: Path, **changes: Any) -> LocalTextTeacher:
    values = {"kind": "local", "model": str(folder), "dtype": "float32"}
    return LocalTextTeacher(LocalTextSettings.model_validate(values | changes), CPU)


def answered(one: LocalTextTeacher, what: Ask, count: int = 4, seed: int = 0) -> Answer:
    [(_, found)] = one.continuations([what], count, seed)
    return found


def plain(text: str, **more: int) -> Ask:
    return ask(text, **more)._replace(messages=())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of bytes."""
    return write_model(tmp_path_factory.mktemp("local") / "bytes", 5)


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of another family: pieces that begin with a space's mark, as in SentencePiece."""
    letters = [chr(97 + number) for number in range(26)]
    pieces = ["<unk>", "<s>", "</s>", "▁", *letters, *(f"▁{one}" for one in letters)]
    vocabulary = {piece: number for number, piece in enumerate(pieces)}
    merges = [("▁", one) for one in letters]
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    tokenizer.decoder = decoders.Metaspace(prepend_scheme="first")
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", chat_template=TEMPLATE
    )
    target = tmp_path_factory.mktemp("local") / "words"
    return write_model(target, 6, fast, vocab_size=len(pieces))


@pytest.fixture(scope="module")
def network(folder: Path) -> Network:
    return load_frozen(str(folder), "float32", None, CPU)


def test_the_likeliest_continuation_is_the_model_s_own(folder: Path, network: Network) -> None:
    what = plain("def f(x):", characters=10**6, tokens=12)
    ids = torch.tensor([network.tokenizer(what.text)["input_ids"]])
    expected = network.causal.generate(
        ids, max_new_tokens=12, do_sample=False, eos_token_id=257, pad_token_id=0
    )[0, ids.shape[1] :]
    text = network.tokenizer.decode(
        expected, skip_special_tokens=True, clean_up_tokenization_spaces=False
    )
    found = answered(teacher(folder, prompt="text", temperature=0), what, count=2)
    assert found.texts == (text, text)
    assert found.prompt_tokens == ids.shape[1]
    assert found.generated_tokens == 2 * len(expected)


@pytest.mark.parametrize(("temperature", "top_p"), [(1.0, 1.0), (0.5, 1.0), (1.5, 0.6)])
def test_tokens_come_as_often_as_the_model_says(
    folder: Path, network: Network, temperature: float, top_p: float
) -> None:
    count = 20_000
    one = teacher(folder, prompt="text", temperature=temperature, top_p=top_p, batch=count)
    what = plain("a b", characters=10**6, tokens=2)
    ids = prompt_ids(network.tokenizer, what, "text")
    part = Part(what, count, 3)
    at = torch.rand(count, 2, generator=torch.Generator().manual_seed(part.sampling_seed)).double()
    begun = network.causal(torch.tensor([ids]), use_cache=True, logits_to_keep=1)
    rows = one._sample(begun, at, _never())
    first = _expected(network, ids, temperature, top_p)
    _check_drawn([row[0] for row in rows], first)
    likeliest = int(first.argmax())
    second = _expected(network, [*ids, likeliest], temperature, top_p)
    _check_drawn([row[1] for row in rows if row[0] == likeliest], second)


def _check_drawn(tokens: list[int], expected: torch.Tensor) -> None:
    """That tokens were drawn from a distribution: as far from it as chance makes them."""
    assert len(tokens) > 500
    seen = torch.bincount(torch.tensor(tokens), minlength=len(expected))
    assert not bool(seen[expected == 0].any())
    assert bool(seen[expected * len(tokens) > 20].all())
    by_chance = (2 * expected * (1 - expected) / (torch.pi * len(tokens))).sqrt().sum()
    assert 0.7 < float((seen / len(tokens) - expected).abs().sum() / by_chance) < 1.3


def _never() -> Any:
    class Never:
        def enough(self, _: object) -> bool:
            return False

    return Never()


@torch.no_grad()
def _expected(network: Network, ids: list[int], temperature: float, top_p: float) -> torch.Tensor:
    logits = network.causal(torch.tensor([ids])).logits[0, -1].double() / temperature
    mass = logits.softmax(-1)
    order = sorted(range(len(mass)), key=lambda token: -float(mass[token]))
    kept, total = torch.zeros_like(mass), 0.0
    for token in order:
        if total >= top_p:
            break
        kept[token] = mass[token]
        total += float(mass[token])
    return (kept / kept.sum()).float()


def test_answers_depend_on_the_ask_and_the_seed_alone(folder: Path) -> None:
    asks = [ask(f"text {number}", tokens=10) for number in range(4)]
    one, few = teacher(folder), teacher(folder, batch=3)
    found = dict(one.continuations(asks, 5, 0))
    again = dict(few.continuations(asks[::-1], 5, 0))
    for number in range(4):
        assert found[number].texts == again[3 - number].texts
        assert found[number].generated_tokens == again[3 - number].generated_tokens
    assert len({found[number].texts for number in range(4)}) == 4
    assert len(set(found[0].texts)) == 5
    assert answered(one, asks[0], 5, seed=1).texts != found[0].texts


def test_a_continuation_ends_with_its_characters_its_turn_or_its_tokens(
    folder: Path, network: Network
) -> None:
    one = teacher(folder, prompt="text", length_factor=4)
    what = plain("some text", characters=5, tokens=25)
    found = answered(one, what, count=40)
    assert all(len(trim(text, 10**6)) <= 8 for text in found.texts)
    enough = [text for text in found.texts if len(trim(text, 10**6)) >= 5]
    assert len(enough) > 30
    assert found.generated_tokens < 40 * 30
    long = answered(teacher(folder, prompt="text"), plain("some text", characters=999), count=40)
    assert long.generated_tokens <= 40 * 8
    ended = network.tokenizer.eos_token
    assert not any(ended in text for text in found.texts + long.texts)


def test_prompts_end_where_the_answer_is_so_far(folder: Path, network: Network) -> None:
    tokenizer = network.tokenizer
    what = ask("an answer  \n", QUESTION)
    expected = "<s>user\ngo on</s><s>assistant\nan answer  \n"
    assert rendered(tokenizer, what) == expected
    assert rendered(tokenizer, ask("")) == "<s>user\ngo on</s><s>assistant\n"
    assert rendered(tokenizer, ask(" \n")) == "<s>user\ngo on</s><s>assistant\n \n"
    assert tokenizer.decode(prompt_ids(tokenizer, what, "chat")) == expected
    other = byte_tokenizer()
    other.chat_template = TEMPLATE.replace("message['content']", "message['content'].strip()")
    assert rendered(other, what) == expected
    thinking = TEMPLATE.replace("message['content']", "message['content'].split('</t>')[-1]")
    other.chat_template = thinking
    thoughts = ask("<t>hm</t>so")
    assert rendered(other, thoughts) == "<s>user\ngo on</s><s>assistant\n<t>hm</t>so"
    other.chat_template = "{{ raise_exception('roles must alternate') }}"
    with pytest.raises(TeacherError, match="does not take the messages: roles must alternate"):
        rendered(other, what)
    other.chat_template = None
    with pytest.raises(MismatchError, match="set prompt: text"):
        rendered(other, what)


def test_what_is_too_long_or_of_the_wrong_form_is_said_first(folder: Path) -> None:
    one = teacher(folder)
    one.check([ask("x" * 400)])
    with pytest.raises(TeacherError, match="model bytes takes 512 tokens"):
        one.check([ask("x" * 500)])
    with pytest.raises(TeacherError, match=r"set text_teacher\.prompt: text"):
        one.check([plain("x")])
    most = one.most(Part(ask("abc", tokens=5), 3, 0))
    assert most.prompt == answered(one, ask("abc", tokens=5)).prompt_tokens
    assert most.generated == 15


def test_tokenisers_of_two_families_give_texts_that_compare(folder: Path, words: Path) -> None:
    what = plain("the quick brown fox", characters=12, tokens=12)
    found = {}
    for name, place in (("bytes", folder), ("words", words)):
        one = teacher(place, prompt="text", length_factor=2)
        found[name] = answered(one, what, count=20)
        assert one.identity["tokenizer_sha256"]
    assert found["bytes"].prompt_tokens == len(what.text)
    assert found["words"].prompt_tokens == 16
    begins = [text[:1] == " " for text in found["words"].texts if text]
    assert True in begins  # a piece's space is not lost
    assert False in begins
    for each in found.values():
        scores = SIMILARITIES["edit"].all(" jumps over", [trim(t, 12) for t in each.texts])
        assert all(0 <= score <= 1 for score in scores)
        assert max(len(trim(text, 12)) for text in each.texts) == 12
