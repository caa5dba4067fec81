"""Generation: a few sequences at a time, each exactly as if it were alone.

One thread owns the model. In turn it computes one chunk of the oldest unfinished prompt and one
token of every sequence that is past its prompt. A decoding batch always has `SLOTS` rows, idle ones
included: reading the weights costs more than the rows do, and a row of a batch of fixed shape gets
the same bits in any company.
"""

# ruff: noqa: N803, N806  (shape suffixes)

import logging
import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import torch

from trainers.serving.attention import BatchCache, SequenceCache
from trainers.serving.choices import ChoiceTrie
from trainers.serving.prefix_cache import CHUNK, PrefixCache
from trainers.serving.sampling import Sampler, SamplingParams, TokenLogprobs, token_logprobs

SLOTS = 4

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class GeneratedToken:
    """One sampled token. `finish` says whether and why it is the last one."""

    id: int
    logprobs: TokenLogprobs | None
    finish: Literal["stop", "length"] | None


@dataclass(frozen=True)
class PromptDone:
    """The prompt is computed. `logprobs` has an entry for each token but the first, if asked."""

    logprobs: tuple[TokenLogprobs, ...]


@dataclass(frozen=True)
class EngineFailure:
    """The computation itself failed; nothing more comes."""

    message: str


EngineEvent = PromptDone | GeneratedToken | EngineFailure


@dataclass
class Generation:
    """One request. Set `cancelled` to stop it at the next token or chunk.

    `emit` is called in the engine's thread and must not block. Log-probs are left out when None.
    With `choices` only tokens that these allow are sampled, by their probabilities among each
    other; log-probs stay those of the model over its whole vocabulary.
    """

    prompt: list[int]
    max_tokens: int
    stop_ids: frozenset[int]
    sampling: SamplingParams
    emit: Callable[[EngineEvent], None]
    top_logprobs: int | None = None
    prompt_logprobs: int | None = None
    choices: ChoiceTrie | None = None
    cancelled: bool = False


@dataclass
class _Sequence:
    request: Generation
    cache: SequenceCache
    sampler: Sampler
    choices: ChoiceTrie | None
    last: int = -1
    generated: int = 0
    prompt_logprobs: list[TokenLogprobs] = field(default_factory=list)
    done: bool = False

    @property
    def prefilled(self) -> bool:
        return self.cache.length >= len(self.request.prompt)


class Engine:
    """A causal language model of transformers, run in one thread of its own."""

    def __init__(self, model: Any, *, prefix_cache_bytes: int) -> None:
        """`model` must have been loaded with the attention `attention.IMPLEMENTATION`."""
        self._model = model
        self._prefixes = PrefixCache(prefix_cache_bytes)
        self._submitted: queue.SimpleQueue[Generation] = queue.SimpleQueue()
        self._running: list[_Sequence] = []
        self._thread = threading.Thread(target=self._loop, name="engine", daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether the engine still takes requests."""
        return self._thread.is_alive()

    def submit(self, request: Generation) -> None:
        """Queue a request: first come, first served."""
        self._submitted.put(request)

    @torch.inference_mode()
    def _loop(self) -> None:
        while True:
            self._admit()
            prompts = [one for one in self._running if not one.prefilled]
            self._guarded(self._prefill_chunk, prompts[:1])
            decoding = [one for one in self._running if one.generated and not one.done]
            self._guarded(self._decode, decoding)
            self._running = [
                one for one in self._running if not (one.done or one.request.cancelled)
            ]

    def _admit(self) -> None:
        """Fill free slots from the queue; wait when there is nothing to do at all."""
        while len(self._running) < SLOTS:
            try:
                request = self._submitted.get(block=not self._running)
            except queue.Empty:
                return
            if not request.cancelled:
                capacity = len(request.prompt) + request.max_tokens
                cache = (
                    self._prefixes.start(request.prompt, capacity)
                    if request.prompt_logprobs is None
                    else SequenceCache(capacity)
                )
                sampler = Sampler(request.sampling)
                self._running.append(_Sequence(request, cache, sampler, request.choices))

    def _guarded(self, step: Callable[[list[_Sequence]], None], rows: list[_Sequence]) -> None:
        """Run a step; its failure ends the sequences in it and nothing else."""
        try:
            if rows:
                step(rows)
        except Exception as error:
            _log.exception("a forward pass failed")
            for row in rows:
                row.done = True
                row.request.emit(EngineFailure(f"{type(error).__name__}: {error}"))

    def _prefill_chunk(self, rows: list[_Sequence]) -> None:
        (row,) = rows
        request, start = row.request, row.cache.length
        tokens = request.prompt[start : start + CHUNK - start % CHUNK]
        wanted = 1 if request.prompt_logprobs is None else 0
        logits = self._forward([tokens], [start], [row.cache], logits_to_keep=wanted)[0]
        row.cache.advance(len(tokens))
        if request.prompt_logprobs is not None:
            following = request.prompt[start + 1 : start + 1 + len(tokens)]
            row.prompt_logprobs += [
                token_logprobs(at, token, request.prompt_logprobs)
                for at, token in zip(logits, following, strict=False)
            ]
        if row.prefilled:
            self._prefixes.add(request.prompt, row.cache)
            request.emit(PromptDone(tuple(row.prompt_logprobs)))
            self._sample(row, logits[-1])

    def _decode(self, rows: list[_Sequence]) -> None:
        slots: list[_Sequence | None] = [*rows, *[None] * (SLOTS - len(rows))]
        logits = self._forward(
            [[slot.last if slot else 0] for slot in slots],
            [slot.cache.length if slot else 0 for slot in slots],
            [slot.cache if slot else None for slot in slots],
            logits_to_keep=1,
        )
        for index, row in enumerate(rows):
            row.cache.advance(1)
            self._sample(row, logits[index, -1])

    def _forward(
        self,
        tokens: list[list[int]],
        starts: list[int],
        caches: list[SequenceCache | None],
        *,
        logits_to_keep: int,
    ) -> torch.Tensor:
        """Logits [B, L or 1, V] of the new tokens of each row, which begin at `starts`."""
        ids_BL = torch.tensor(tokens)
        positions_BL = torch.tensor(starts)[:, None] + torch.arange(ids_BL.shape[1])
        output: torch.Tensor = self._model(
            input_ids=ids_BL,
            position_ids=positions_BL,
            past_key_values=BatchCache(caches),
            logits_to_keep=logits_to_keep,
        ).logits
        return output

    def _sample(self, row: _Sequence, logits_V: torch.Tensor) -> None:
        request = row.request
        if row.choices is None:
            row.last = row.sampler.choose(logits_V)
        else:
            allowed = row.choices.allowed
            row.last = allowed[row.sampler.choose(logits_V[allowed])]
            row.choices = row.choices.after(row.last)
        row.generated += 1
        finish: Literal["stop", "length"] | None = None
        if row.last in request.stop_ids:
            finish = "stop"
        elif row.generated >= request.max_tokens:
            finish = "length"
        row.done = finish is not None
        logprobs = None
        if request.top_logprobs is not None:
            logprobs = token_logprobs(logits_V, row.last, request.top_logprobs)
        request.emit(GeneratedToken(row.last, logprobs, finish))
