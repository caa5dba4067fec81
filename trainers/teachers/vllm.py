"""A teacher behind vLLM: log-probabilities of the prompt's tokens, PI adapters by their names.

Shapes: N sampled tokens, M states of a row, K ids that are known of a token.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from torch import Tensor

from trainers.data.contexts import PIContexts, with_block
from trainers.data.trajectories import Trajectory
from trainers.engine.config import Composition, Interface
from trainers.engine.errors import TeacherError
from trainers.losses.sources import Composed, KnownLogProbs, Source
from trainers.segments.sampling import Place, Segments
from trainers.teachers.local import check_lengths
from trainers.teachers.pi_rows import BASE, PIRow, PIRows
from trainers.teachers.remote_model import RemoteModel
from trainers.teachers.tensor_cache import TensorCache
from trainers.teachers.vllm_client import VllmClient
from trainers.teachers.vllm_format import known, read_continuations, read_prompt_logprobs

_PROBE_TOKENS = 16
_PROBE_DRIFT = 0.05  # of the probability mass: batches and kernels change less

# generation_config.json would change what is left out
_PLAIN = {"temperature": 1.0, "top_p": 1.0, "top_k": 0, "min_p": 0.0, "repetition_penalty": 1.0}


class VllmTeacher:
    """q and q^P of a model that vLLM serves. `base` and `pi` are the two as a `Teacher`.

    Every answer is kept in `cache` by what was asked, so that nothing is asked twice, not even by
    a training that was killed. top: K, -1 for all ids. contexts, sources, adapters (the names that
    their LoRA modules are served by), interface: of PI; without sources, `pi` is `base`. Several
    sources' log-probabilities are composed as logits are. Source: CHOP Eq. 14.
    """

    def __init__(
        self,
        model: RemoteModel,
        client: VllmClient,
        cache: TensorCache,
        *,
        top: int = 20,
        concurrency: int = 16,
        contexts: PIContexts | None = None,
        sources: Sequence[str] = (),
        adapters: Mapping[str, str] | None = None,
        interface: Interface = Interface.CONTEXT,
    ) -> None:
        self.model = model
        self.base = _View(self, pi=False)
        self.pi = _View(self, pi=True)
        self._client = client
        self._cache = cache
        self._top = top
        self._concurrency = concurrency
        self._contexts = contexts
        self._sources = tuple(sources)
        self._names = {BASE: model.name, **(adapters or {})}
        self._rows = PIRows(model.tokenizer, interface, Composition.LOGITS)

    def check(self, trajectories: Sequence[Trajectory], *, pi: bool) -> None:
        """See `Teacher`: every trajectory fits, with its PI, and the models answer as they did."""
        extra = [
            max(len(row.ids) for row in self.rows(one, pi=pi)) + 1 - len(one.ids)
            for one in trajectories
        ]
        check_lengths(self.model, trajectories, [max(0, more) for more in extra])
        probe = trajectories[0].ids[:_PROBE_TOKENS].tolist()
        for name in dict.fromkeys(self._names.values()):
            self._probe(name, probe)

    def rows(self, trajectory: Trajectory, *, pi: bool) -> list[PIRow]:
        """What is asked for a trajectory, the base first."""
        return self._rows.of(trajectory, self._texts(trajectory, pi=pi))

    def fetch(self, trajectories: Sequence[Trajectory], *, pi: bool) -> None:
        """Ask for everything about trajectories that the cache has not, side by side."""
        self._side_by_side(
            self._row, [(one, row) for one in trajectories for row in self.rows(one, pi=pi)]
        )

    def sources(self, trajectories: Sequence[Trajectory], *, pi: bool) -> Source:
        """The distributions at all sampled tokens."""
        asked = [(one, row) for one in trajectories for row in self.rows(one, pi=pi)]
        found = self._side_by_side(self._row, asked)
        base: list[dict[str, Tensor]] = []
        by_source: dict[str, list[dict[str, Tensor]]] = {name: [] for name in self._sources}
        for (_, row), answer in zip(asked, found, strict=True):
            if not row.sources:
                base.append(answer)
                for parts in by_source.values():
                    parts.append(answer)
            else:
                parts = by_source[row.sources[0]]
                parts[-1] = _replaced(parts[-1], answer, torch.from_numpy(row.tokens))
        whole = self._known(base)
        if not pi or not self._sources:
            return whole
        return Composed(whole, [self._known(parts) for parts in by_source.values()])

    def continuations(
        self, places: Sequence[Place], count: int, length: int, seed: int, *, pi: bool
    ) -> list[Segments]:
        """See `SegmentSource`. With PI, of one source at most: vLLM cannot sample from several."""
        found: list[Segments] = self._side_by_side(
            lambda place: self._segments(place, count, length, seed, pi=pi),
            [(place,) for place in places],
        )
        return found

    def _segments(self, place: Place, count: int, length: int, seed: int, *, pi: bool) -> Segments:
        trajectory, state = place
        turn = next(
            number
            for number, one in enumerate(trajectory.turns)
            if one.start - 1 <= state < one.end
        )
        texts = {name: found[turn] for name, found in self._texts(trajectory, pi=pi).items()}
        present = [name for name, text in texts.items() if text]
        if len(present) > 1:
            raise TeacherError(
                f"{self.model.place}: vLLM cannot sample segments of several PI sources together "
                f"({', '.join(present)}): give pi.sources one, or use a local teacher"
            )
        block = [one for name in present for one in self._rows.block(texts[name])]
        prompt = with_block(trajectory.ids[: state + 1], block, self.model.tokenizer)
        body = {
            "model": self._names[self._rows.adapter(tuple(present))],
            "prompt": prompt.tolist(),
            "n": count,
            "max_tokens": length,
            "seed": _seed(seed, place),
            "stop_token_ids": [self.model.tokenizer.eos_token_id],
            "return_token_ids": True,
            **_PLAIN,
        }
        key = self._key(body)
        found = self._cache.get(key)
        if found is None:
            answer = self._client.complete(body)
            found = read_continuations(answer, count, length, self.model.place)._asdict()
            self._cache.put(key, found)
        self._check_ids(found["ids"])
        return Segments(**found)

    def _texts(self, trajectory: Trajectory, *, pi: bool) -> dict[str, tuple[str, ...]]:
        """By source, one for each turn."""
        if not pi or self._contexts is None:
            return {}
        return {source: self._contexts.of(trajectory, source) for source in self._sources}

    def _row(self, trajectory: Trajectory, row: PIRow) -> dict[str, Tensor]:
        """`ids` and `log_probs` `(M, K)` of a row."""
        last = trajectory.ids[trajectory.positions[row.tokens[-1]]]
        return self._log_probs(self._names[row.adapter], [*row.ids.tolist(), int(last)], row.states)

    def _log_probs(self, name: str, prompt: list[int], states: Any) -> dict[str, Tensor]:
        body = {
            "model": name,
            "prompt": prompt,
            "max_tokens": 1,
            "prompt_logprobs": self._top,
            **_PLAIN,
        }
        key = self._key({**body, "states": states.tolist()})
        found = self._cache.get(key)
        if found is None:
            answer = self._client.complete(body)
            found = read_prompt_logprobs(answer, prompt, states, self.model.place)
            self._cache.put(key, found)
        return found

    def _check_ids(self, ids: Tensor) -> None:
        """Raise TeacherError for ids that the student has not."""
        if int(ids.max()) >= self.model.vocabulary:
            raise TeacherError(
                f"{self.model.place}: a continuation has token {int(ids.max())}, beyond the "
                f"{self.model.vocabulary} ids that teacher and student share: segments need models "
                "with one vocabulary"
            )

    def _probe(self, name: str, prompt: list[int]) -> None:
        """Raise TeacherError where a model of this name is not the one that answered before."""
        states = np.arange(len(prompt) - 1)
        kept = self._log_probs(name, prompt, states)
        body = {"model": name, "prompt": prompt, "max_tokens": 1, "prompt_logprobs": self._top}
        answer = self._client.complete({**body, **_PLAIN})
        now = read_prompt_logprobs(answer, prompt, states, self.model.place)
        size = self.model.embedded
        apart = [known(one, size, self.model.place) for one in (kept, now)]
        dense = [one.logits(*one.columns).exp() for one in apart]
        drift = float((dense[0] - dense[1]).abs().sum(-1).max() / 2)
        if drift > _PROBE_DRIFT:
            raise TeacherError(
                f"{self.model.place}: {name!r} is not the model that answered before (their "
                f"distributions differ by a total variation of {drift:.2g}): serve the model of "
                f"before, or remove {self._cache.folder} and begin in a new folder"
            )

    def _known(self, parts: Sequence[dict[str, Tensor]]) -> KnownLogProbs:
        width = max(part["ids"].shape[1] for part in parts)
        joint = {
            name: torch.cat([_widened(part[name], width, fill) for part in parts])
            for name, fill in (("ids", -1), ("log_probs", 0))
        }
        return known(joint, self.model.vocabulary, self.model.place)

    def _key(self, asked: Mapping[str, Any]) -> str:
        text = f"{self.model.sha256} {sorted(asked.items())}"
        return hashlib.sha256(text.encode()).hexdigest()

    def _side_by_side(self, work: Callable[..., Any], arguments: Sequence[tuple[Any, ...]]) -> Any:
        if len(arguments) < 2:
            return [work(*each) for each in arguments]
        with ThreadPoolExecutor(self._concurrency) as pool:
            futures = [pool.submit(work, *each) for each in arguments]
            try:
                return [future.result() for future in futures]
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise


class _View:
    """One of the two distributions, as a `Teacher`."""

    def __init__(self, owner: VllmTeacher, *, pi: bool) -> None:
        self.owner = owner
        self.model = owner.model
        self._pi = pi

    def check(self, trajectories: Sequence[Trajectory]) -> None:
        """See `Teacher`."""
        self.owner.check(trajectories, pi=self._pi)

    def fetch(self, trajectories: Sequence[Trajectory]) -> None:
        """Ask for what `project` will be asked for."""
        self.owner.fetch(trajectories, pi=self._pi)

    def project(self, trajectories: Sequence[Trajectory]) -> Source:
        """See `Teacher`."""
        return self.owner.sources(trajectories, pi=self._pi)

    def continuations(
        self, places: Sequence[Place], count: int, length: int, seed: int
    ) -> list[Segments]:
        """See `SegmentSource`."""
        return self.owner.continuations(places, count, length, seed, pi=self._pi)


def _seed(seed: int, place: Place) -> int:
    """vLLM gives continuation i the seed plus i: seeds of places must be far apart."""
    text = f"{seed} {place.trajectory.name} {place.state}"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8]) >> 2


def _widened(values: Tensor, width: int, fill: int) -> Tensor:
    return torch.nn.functional.pad(values, (0, width - values.shape[1]), value=fill)


def _replaced(
    before: Mapping[str, Tensor], answer: Mapping[str, Tensor], tokens: Tensor
) -> dict[str, Tensor]:
    """What is known of all sampled tokens, with an answer about some of them in its place."""
    width = max(before["ids"].shape[1], answer["ids"].shape[1])
    found = {}
    for name, fill in (("ids", -1), ("log_probs", 0)):
        values = _widened(before[name], width, fill).clone()
        values[tokens] = _widened(answer[name], width, fill)
        found[name] = values
    return found
