"""Training of a small model from its recipe: one process, whole batches, exact continuation."""

import random
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.nn.utils import clip_grad_norm_
from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

from harness.records.repair.text import short_name, words
from trainers.small.corpus import Corpus
from trainers.small.episodes import Piece, batch_rows
from trainers.small.recipe import Recipe, RecipeError
from trainers.small.tokenizer import train_tokenizer

_BATCHES = 8  # made at a time and sorted by length
_STATE = "state.pt"
_Row = tuple[list[int], list[float]]


class SmallTraining:
    """A model in training, in a folder: `state.pt`, `tokenizer/`, and `snapshots/<step>/`."""

    def __init__(self, recipe: Recipe, corpus: Corpus, folder: Path) -> None:
        """Start, or continue what the folder has. Raises RecipeError for another recipe's."""
        self.recipe, self.corpus, self.folder = recipe, corpus, folder
        self.tokenizer = _tokenizer(recipe, corpus, folder / "tokenizer")
        torch.manual_seed(recipe.seed)
        self.model = Qwen3ForCausalLM(_architecture(recipe, self.tokenizer))
        self._optimizers = _optimizers(self.model, recipe)
        self.step = 0
        self._resume()

    def batches(self, first: int) -> Iterator[list[_Row]]:
        """The rows of each step from `first` on; a step's do not depend on where it began."""
        recipe, count = self.recipe, self.recipe.rows
        for begin in range(first - first % _BATCHES, recipe.steps, _BATCHES):
            kind, seed = recipe.stage_at(begin), f"{recipe.seed}:{begin}"
            made = list(batch_rows(self.corpus.files, kind, count * _BATCHES, seed))
            rows = sorted(self._encode(made), key=lambda row: len(row[0]))
            batches = [rows[at : at + count] for at in range(0, len(rows), count)]
            random.Random(seed).shuffle(batches)  # noqa: S311
            yield from batches[max(0, first - begin) : recipe.steps - begin]

    def run_step(self, rows: Sequence[_Row]) -> float:
        """One update; the mean loss of the tokens whose weight is 1."""
        rate = self.recipe.rate_at(self.step)
        for optimizer in self._optimizers:
            for group in optimizer.param_groups:
                group["lr"] = rate
        ids, weights = _padded(rows, self.tokenizer.pad_token_id)
        self.model.train()
        hidden = self.model.model(input_ids=ids, use_cache=False).last_hidden_state[:, :-1]
        counted = weights[:, 1:] > 0
        logits = hidden[counted] @ self.model.lm_head.weight.T
        weight = weights[:, 1:][counted]
        losses = cross_entropy(logits, ids[:, 1:][counted], reduction="none")
        ((losses * weight).sum() / weight.sum()).backward()  # type: ignore[no-untyped-call]
        clip_grad_norm_(self.model.parameters(), 1.0)
        for optimizer in self._optimizers:
            optimizer.step()
            optimizer.zero_grad()
        self.step += 1
        return float(losses.detach()[weight == 1].mean())

    def save(self) -> None:
        """Keep what a continuation needs."""
        self.folder.mkdir(parents=True, exist_ok=True)
        draft = self.folder / f"{_STATE}.draft"
        state = {
            "recipe": self.recipe.model_dump_json(),
            "step": self.step,
            "model": self.model.state_dict(),
            "optimizers": [one.state_dict() for one in self._optimizers],
        }
        torch.save(state, draft)
        draft.replace(self.folder / _STATE)

    def snapshot(self) -> Path:
        """Export the model as it is now, in bfloat16, with its tokeniser."""
        final = self.folder / "snapshots" / f"{self.step:06d}"
        draft = final.with_name(f".{final.name}")
        shutil.rmtree(draft, ignore_errors=True)
        half = Qwen3ForCausalLM(self.model.config).to(torch.bfloat16)
        half.load_state_dict(self.model.state_dict())
        half.save_pretrained(draft)
        self.tokenizer.save_pretrained(draft)
        shutil.rmtree(final, ignore_errors=True)
        draft.rename(final)
        return final

    def _encode(self, rows: Sequence[Sequence[Piece]]) -> Iterator[_Row]:
        texts = [piece.text for row in rows for piece in row]
        found = iter(self.tokenizer(texts, add_special_tokens=False)["input_ids"])
        for row in rows:
            ids: list[int] = []
            weights: list[float] = []
            for piece in row:
                new = next(found)
                ids += new
                weights += [piece.weight] * len(new)
            yield ids, weights

    def _resume(self) -> None:
        path = self.folder / _STATE
        if not path.exists():
            return
        state: dict[str, Any] = torch.load(path, weights_only=True)
        if state["recipe"] != self.recipe.model_dump_json():
            raise RecipeError(f"{path} is of another recipe: give another --output")
        self.model.load_state_dict(state["model"])
        for optimizer, kept in zip(self._optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(kept)
        self.step = state["step"]


def _architecture(recipe: Recipe, tokenizer: PreTrainedTokenizerFast) -> Qwen3Config:
    return Qwen3Config(
        vocab_size=len(tokenizer),
        hidden_size=recipe.width,
        intermediate_size=3 * recipe.width,
        num_hidden_layers=recipe.layers,
        num_attention_heads=recipe.heads,
        num_key_value_heads=max(1, recipe.heads // 2),
        head_dim=recipe.width // recipe.heads,
        max_position_embeddings=tokenizer.model_max_length,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )


def _optimizers(model: nn.Module, recipe: Recipe) -> list[torch.optim.Optimizer]:
    """Muon for the layers' matrices, AdamW for embeddings and norms."""
    named = dict(model.named_parameters())
    matrices = [one for name, one in named.items() if one.ndim == 2 and ".layers." in name]
    chosen = {id(one) for one in matrices}
    others = [one for one in named.values() if id(one) not in chosen]
    rate = recipe.learning_rate
    return [
        torch.optim.Muon(matrices, lr=rate, weight_decay=0.05, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(others, lr=rate, betas=(0.9, 0.98), weight_decay=0.01),
    ]


def _padded(rows: Sequence[_Row], padding: int) -> tuple[Tensor, Tensor]:
    width = max(len(ids) for ids, _ in rows)
    ids = torch.full((len(rows), width), padding)
    weights = torch.zeros(len(rows), width)
    for row, (own, weight) in enumerate(rows):
        ids[row, : len(own)] = torch.tensor(own)
        weights[row, : len(own)] = torch.tensor(weight)
    return ids, weights


def _tokenizer(recipe: Recipe, corpus: Corpus, folder: Path) -> PreTrainedTokenizerFast:
    if not folder.is_dir():
        sample = corpus.functions[::3]
        texts = (text for one in sample for text in (words(short_name(one.name)), one.state))
        made = train_tokenizer(texts, recipe.vocabulary)
        draft = folder.with_name(f".{folder.name}")
        made.save_pretrained(draft)
        draft.rename(folder)
    loaded: PreTrainedTokenizerFast = PreTrainedTokenizerFast.from_pretrained(folder)
    if len(loaded) > recipe.vocabulary:
        raise RecipeError(f"{folder}: {len(loaded)} tokens; the recipe has {recipe.vocabulary}")
    return loaded
