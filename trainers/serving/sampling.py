"""Choosing the next token from logits, and what is reported about the choice."""

# ruff: noqa: N803  (shape suffixes)

from dataclasses import dataclass

import torch

_HEAD = 1024  # tokens sorted before the whole vocabulary is


@dataclass(frozen=True)
class SamplingParams:
    """How to sample. Temperature 0 is greedy; `top_k` 0 is off."""

    temperature: float
    top_p: float
    top_k: int
    seed: int


@dataclass(frozen=True)
class TokenLogprobs:
    """Natural-log probabilities under the model itself (temperature 1, nothing cut off)."""

    logprob: float
    rank: int
    top: tuple[tuple[int, float], ...]


class Sampler:
    """Draws tokens; its random numbers depend on the seed alone."""

    def __init__(self, params: SamplingParams) -> None:
        self._params = params
        self._generator = torch.Generator().manual_seed(params.seed)

    def choose(self, logits_V: torch.Tensor) -> int:
        """The next token's id."""
        params = self._params
        if params.temperature == 0:
            return int(logits_V.argmax())
        probabilities = torch.softmax(logits_V.float() / params.temperature, dim=-1)
        values, ids = self._candidates(probabilities)
        cumulative = values.cumsum(0)
        kept = int((cumulative - values < params.top_p).sum())
        if params.top_k:
            kept = min(kept, params.top_k)
        draw = torch.rand(1, generator=self._generator) * cumulative[kept - 1]
        return int(ids[min(int(torch.searchsorted(cumulative[:kept], draw)), kept - 1)])

    def _candidates(self, probabilities_V: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The likeliest tokens, sorted: enough of them for top-p and top-k."""
        head = torch.topk(probabilities_V, min(_HEAD, len(probabilities_V)))
        enough_k = 0 < self._params.top_k <= _HEAD
        if enough_k or (self._params.top_p < 1 and float(head.values.sum()) >= self._params.top_p):
            return head.values, head.indices
        return torch.sort(probabilities_V, descending=True, stable=True)


def token_logprobs(logits_V: torch.Tensor, token: int, top: int) -> TokenLogprobs:
    """What the model thought of `token` and of the `top` likeliest tokens."""
    logprobs = torch.log_softmax(logits_V.float(), dim=-1)
    chosen = logprobs[token]
    values, ids = torch.topk(logprobs, top)
    return TokenLogprobs(
        logprob=float(chosen),
        rank=int((logprobs > chosen).sum()) + 1,
        top=tuple(zip(ids.tolist(), values.tolist(), strict=True)),
    )
