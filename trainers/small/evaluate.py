"""How well a small model repairs functions of files that it was not trained on."""

import random
from collections.abc import Sequence
from typing import NamedTuple

import torch
from transformers import PreTrainedTokenizerFast, Qwen3ForCausalLM

from harness.records.repair.text import END, PLACE_TOKENS
from trainers.small.corpus import Function
from trainers.small.episodes import sample_episode

_TOGETHER = 64


class Score(NamedTuple):
    """Shares of episodes: the first turn's function, the second turn's place given the right
    function, and what choosing a place at random gives."""

    function: float
    place: float
    chance: float


def score(
    model: Qwen3ForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    files: Sequence[tuple[Function, ...]],
    episodes: int,
    seed: int = 0,
) -> Score:
    """Likeliest choices on made-up repairs of held-out files; names by their first token."""
    draw = random.Random(seed)  # noqa: S311
    weights = [float(len(file)) for file in files]
    made = [sample_episode(files, weights, draw) for _ in range(episodes)]
    first = _last_logits(model, tokenizer, [one.first_state for one in made])
    texts = [one.first_state + one.first_action + END + one.broken.state for one in made]
    second = _last_logits(model, tokenizer, texts)
    marks = tokenizer.convert_tokens_to_ids(list(PLACE_TOKENS))
    functions = places = chance = 0.0
    for one, names, edits in zip(made, first, second, strict=True):
        text = one.first_state
        options = text[text.index("<funcs>") + len("<funcs>") : text.index("<act>")].split(",")
        heads = [tokenizer(name, add_special_tokens=False)["input_ids"][0] for name in options]
        gold = heads[options.index(one.first_action)]
        functions += heads[int(names[heads].argmax())] == gold
        count = len(one.functions[one.gold].places)
        chosen = PLACE_TOKENS[int(edits[marks[:count]].argmax())]
        places += one.broken.action.startswith(chosen)
        chance += 1 / count
    return Score(functions / episodes, places / episodes, chance / episodes)


@torch.no_grad()
def _last_logits(
    model: Qwen3ForCausalLM, tokenizer: PreTrainedTokenizerFast, texts: Sequence[str]
) -> list[torch.Tensor]:
    model.eval()
    found: dict[int, torch.Tensor] = {}
    rows = sorted(enumerate(tokenizer(list(texts))["input_ids"]), key=lambda row: len(row[1]))
    for begin in range(0, len(rows), _TOGETHER):
        part = rows[begin : begin + _TOGETHER]
        width = len(part[-1][1])
        ids = torch.full((len(part), width), tokenizer.pad_token_id)
        for row, (_, own) in enumerate(part):
            ids[row, : len(own)] = torch.tensor(own)
        hidden = model.model(input_ids=ids, use_cache=False).last_hidden_state
        for row, (number, own) in enumerate(part):
            found[number] = model.lm_head(hidden[row, len(own) - 1]).float()
    return [found[number] for number in range(len(texts))]
