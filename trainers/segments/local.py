"""Continuations from a network on this machine."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface

from trainers.data.trajectories import Trajectory
from trainers.engine.errors import MismatchError
from trainers.segments.continuation import Cache, Run, Starts, sample
from trainers.segments.prefixes import Prefix, join, keeping_prefix
from trainers.segments.sampling import Place, Segments, uniforms

if TYPE_CHECKING:
    from trainers.engine.networks import Network


def run_of(network: "Network") -> Run:
    """A network's forward pass behind a cache.

    Raises MismatchError for a model that does not look back at everything.
    """
    config = network.causal.config
    kinds = set(getattr(config, "layer_types", None) or ["full_attention"])
    if kinds != {"full_attention"}:
        raise MismatchError(
            f"model {network.name} has layers of {', '.join(sorted(kinds))}: segments can be "
            "sampled from models with full attention in every layer alone"
        )

    mixed = network.mixed

    def run(ids: Tensor, positions: Tensor, mask: Tensor, cache: Cache) -> Tensor:
        with torch.autocast(ids.device.type, torch.bfloat16, enabled=mixed), _grouped(config):
            output = network.causal.base_model(
                input_ids=ids,
                position_ids=positions,
                attention_mask=mask,
                past_key_values=cache,
                use_cache=False,
            )
        states: Tensor = output.last_hidden_state
        return states

    return run


def _attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor,
    scaling: float | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """Attention of the few queries of a decoding step, without copying keys for grouped heads."""
    rows, heads, new, size = query.shape
    groups = heads // key.shape[1]
    joint = query.reshape(rows, key.shape[1], groups * new, size)
    mask = attention_mask.repeat(1, 1, groups, 1)
    found = scaled_dot_product_attention(joint, key, value, attn_mask=mask, scale=scaling)
    return found.reshape(rows, heads, new, size).transpose(1, 2), None


AttentionInterface.register("grouped_queries", _attend)


@contextmanager
def _grouped(config: Any) -> Iterator[None]:
    before = config._attn_implementation
    if not torch.is_grad_enabled() and before == "sdpa":
        config._attn_implementation = "grouped_queries"
    try:
        yield
    finally:
        config._attn_implementation = before


def stop_ids(network: "Network") -> tuple[int, ...]:
    """The ids that end a turn, of the model and of its tokeniser."""
    configured = network.causal.generation_config.eos_token_id
    several = configured if isinstance(configured, list) else [configured]
    found = {*several, network.tokenizer.eos_token_id} - {None}
    return tuple(sorted(int(one) for one in found))


class LocalSegments:
    """A `SegmentSource` of a frozen network; prefixes that were kept are not computed again."""

    def __init__(self, network: "Network") -> None:
        self._network = network

    @torch.no_grad()
    def continuations(
        self,
        places: Sequence[Place],
        count: int,
        length: int,
        seed: int,
        kept: Mapping[str, Prefix] | None = None,
    ) -> list[Segments]:
        """See `SegmentSource`. kept: prefixes of whole trajectories, by name."""
        network, device = self._network, self._network.head.device
        known: dict[str, tuple[int, Prefix]] = {}
        offset = 0
        for place in places:
            name = place.trajectory.name
            if name not in known:
                prefix = (kept or {}).get(name) or self._prefix(place.trajectory)
                known[name] = (offset, prefix)
                offset += prefix.length
        firsts = [known[place.trajectory.name][0] for place in places]
        starts = starts_of(places, firsts, count, device)
        at = torch.cat([uniforms(place, count, length, seed) for place in places])
        prefix = join([each for _, each in known.values()])
        head = network.head[: network.vocabulary]
        found = sample(run_of(network), prefix, starts, head, at, stop_ids(network))
        return split(found, count)

    def _prefix(self, trajectory: Trajectory) -> Prefix:
        ids = torch.from_numpy(trajectory.ids).long().to(self._network.head.device)
        with keeping_prefix(self._network) as prefix:
            self._network.hidden(ids[None], torch.arange(len(ids), device=ids.device)[None])
        return prefix


def starts_of(
    places: Sequence[Place], firsts: Sequence[int], count: int, device: torch.device
) -> Starts:
    """`count` continuations of each place, in a prefix where its trajectory begins at `firsts`."""
    first = torch.tensor(firsts, device=device).repeat_interleave(count)
    states = torch.tensor([place.state for place in places], device=device)
    tokens = torch.tensor(
        [int(place.trajectory.ids[place.state]) for place in places], device=device
    )
    states = first + states.repeat_interleave(count)
    return Starts(first[None], states[None], tokens.repeat_interleave(count))


def split(found: Segments, count: int) -> list[Segments]:
    """Continuations of several places, `count` each, apart."""
    pairs = zip(torch.split(found.ids, count), torch.split(found.lengths, count), strict=True)
    return [Segments(*pair) for pair in pairs]
