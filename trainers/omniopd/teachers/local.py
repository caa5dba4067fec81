"""A text teacher on this machine, with a tokeniser of its own.

Shapes: B continuations side by side, L tokens at most, V vocabulary.
"""

import copy
import time
from collections.abc import Iterator, Sequence
from functools import cached_property
from math import ceil
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from trainers.engine.errors import TeacherError
from trainers.omniopd.settings import LocalTextSettings
from trainers.omniopd.teachers.parts import Part, Tokens, answers, check_form, shown
from trainers.omniopd.teachers.rendering import prompt_ids
from trainers.omniopd.texts import Answer, Ask
from trainers.segments.local import stop_ids
from trainers.segments.sampling import choose

if TYPE_CHECKING:
    from trainers.engine.networks import Network

_INCOMPLETE = "\ufffd"
_CONTEXT = 8  # tokens before a continuation that decide how its first one is written


class LocalTextTeacher:
    """A `TextTeacher`, and a `PartTeacher`, that loads its model when it is first needed.

    Raises, once it does, ModelError when the model cannot be had.
    """

    concurrency = 1
    together = 2**31

    def __init__(self, settings: LocalTextSettings, device: torch.device) -> None:
        self._settings = settings
        self._device = device

    @cached_property
    def _network(self) -> "Network":
        from trainers.engine.networks import load_frozen

        settings = self._settings
        return load_frozen(settings.model, settings.dtype, None, self._device)

    @property
    def identity(self) -> dict[str, str]:
        """See `TextTeacher`."""
        settings, network = self._settings, self._network
        return {
            "kind": settings.kind,
            "model": network.name,
            "sha256": network.sha256,
            "tokenizer_sha256": network.tokenizer_sha256,
            "dtype": settings.dtype,
            "prompt": settings.prompt,
            "temperature": str(settings.temperature),
            "top_p": str(settings.top_p),
            "length_factor": str(settings.length_factor),
        }

    def check(self, asks: Sequence[Ask]) -> None:
        """See `TextTeacher`; loads the model, and makes the prompts."""
        check_form(asks, self._settings.prompt)
        longest = self._network.longest
        for ask in asks:
            tokens = len(self._ids(ask)) + self._limit(ask)
            if tokens > longest:
                raise TeacherError(
                    f"model {self._network.name} takes {longest:,} tokens; the text "
                    f"{shown(ask.text)} and its continuation have {tokens:,}: leave out longer "
                    "trajectories, or take a teacher of longer texts"
                )

    def most(self, part: Part) -> Tokens:
        """See `PartTeacher`; the prompt's tokens are exact."""
        return Tokens(len(self._ids(part.ask)), part.count * self._limit(part.ask))

    def continuations(
        self, asks: Sequence[Ask], count: int, seed: int
    ) -> Iterator[tuple[int, Answer]]:
        """See `TextTeacher`."""
        return answers(self, asks, count, seed, self.answer)

    @torch.no_grad()
    def answer(self, part: Part) -> Answer:
        """See `PartTeacher`: the prompt is computed once, and numbers are drawn by its content."""
        began = time.monotonic()
        ids, limit = self._ids(part.ask), self._limit(part.ask)
        generator = torch.Generator().manual_seed(part.sampling_seed)
        at = torch.rand(part.count, limit, generator=generator, dtype=torch.float64)
        prompt = torch.tensor([ids], device=self._device)
        begun = self._network.causal(prompt, use_cache=True, logits_to_keep=1)
        texts, generated = [], 0
        for some in torch.split(at, self._settings.batch):
            reading = _Reading(self._network.tokenizer, ids, part.ask.characters)
            for row in self._sample(begun, some, reading):
                texts.append(reading.text(row))
                generated += len(row)
        return Answer(
            texts=tuple(texts),
            prompt_tokens=len(ids),
            generated_tokens=generated,
            seconds=time.monotonic() - began,
        )

    def _sample(self, begun: Any, at: Tensor, reading: "_Reading") -> list[list[int]]:
        """Continuations behind a prompt, B by numbers `(B, L)`; a stop token is the last."""
        rows: list[list[int]] = [[] for _ in at]
        stop = stop_ids(self._network)
        cache = copy.deepcopy(begun.past_key_values)
        cache.batch_repeat_interleave(len(at))
        logits = begun.logits[:, -1].expand(len(at), -1)
        active = list(range(len(at)))
        for number in range(at.shape[1]):
            chosen = self._choose(logits, at[active, number])
            for row, token in zip(active, chosen.tolist(), strict=True):
                rows[row].append(token)
            going = [
                place
                for place, row in enumerate(active)
                if rows[row][-1] not in stop and not reading.enough(rows[row])
            ]
            if not going or number + 1 == at.shape[1]:
                break
            if len(going) < len(active):
                kept = torch.tensor(going, device=self._device)
                cache.batch_select_indices(kept)
                chosen, active = chosen[kept], [active[place] for place in going]
            step = self._network.causal(
                chosen[:, None], past_key_values=cache, use_cache=True, logits_to_keep=1
            )
            logits = step.logits[:, -1]
        return rows

    def _choose(self, logits: Tensor, at: Tensor) -> Tensor:
        """The next ids of distributions `(B, V)`."""
        settings = self._settings
        logits = logits[:, : self._network.vocabulary].float()
        if settings.temperature == 0:
            return logits.argmax(-1)
        logits = logits / settings.temperature
        if settings.top_p < 1:
            mass, order = logits.softmax(-1).sort(dim=-1, descending=True, stable=True)
            out = mass.cumsum(-1) - mass >= settings.top_p
            logits = logits.masked_fill(out.gather(-1, order.argsort(-1)), -torch.inf)
        return choose(logits, at)

    def _ids(self, ask: Ask) -> list[int]:
        return prompt_ids(self._network.tokenizer, ask, self._settings.prompt)

    def _limit(self, ask: Ask) -> int:
        return ceil(ask.tokens * self._settings.length_factor)


class _Reading:
    """The text of continuations behind a prompt, until it has so many characters."""

    def __init__(self, tokenizer: Any, prompt: Sequence[int], characters: int) -> None:
        self._tokenizer = tokenizer
        self._context = list(prompt[-_CONTEXT:])
        self._before = self._decode(self._context)
        self._characters = characters

    def text(self, ids: Sequence[int]) -> str:
        """What ids say behind the prompt, control tokens left out."""
        return self._decode([*self._context, *ids])[len(self._before) :]

    def enough(self, ids: Sequence[int]) -> bool:
        """Whether there is as much as is compared."""
        if len(ids) < self._characters // 64:  # far from it, whatever the tokens
            return False
        return len(self.text(ids).rstrip(_INCOMPLETE)) >= self._characters

    def _decode(self, ids: Sequence[int]) -> str:
        text: str = self._tokenizer.decode(
            ids, skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        return text
