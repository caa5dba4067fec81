"""Which beginnings the prefix cache keeps and finds."""

import torch

from trainers.serving.attention import SequenceCache
from trainers.serving.prefix_cache import CHUNK, PrefixCache


def filled(tokens: list[int]) -> SequenceCache:
    """One layer, one head, whose keys are the tokens themselves."""
    cache = SequenceCache(len(tokens))
    keys = torch.tensor(tokens, dtype=torch.float32)[None, :, None]
    cache.write(0, keys, -keys)
    cache.advance(len(tokens))
    return cache


def keys_of(cache: SequenceCache) -> list[float]:
    keys, values = cache.write(0, torch.empty(1, 0, 1), torch.empty(1, 0, 1))
    assert torch.equal(keys, -values)
    found: list[float] = keys[0, :, 0].tolist()
    return found


def test_whole_chunks_are_found_and_copied() -> None:
    cache = PrefixCache(2**20)
    prompt = list(range(2 * CHUNK + 10))
    cache.add(prompt, filled(prompt))
    found = cache.start([*prompt[: 2 * CHUNK], 7, 7], 1000)
    assert found.capacity == 1000
    assert keys_of(found) == prompt[: 2 * CHUNK]
    found.write(0, torch.zeros(1, 5, 1), torch.zeros(1, 5, 1))
    assert keys_of(cache.start(prompt, 500)) == prompt[: 2 * CHUNK]


def test_only_the_common_chunks_are_used() -> None:
    cache = PrefixCache(2**20)
    prompt = list(range(3 * CHUNK))
    cache.add(prompt, filled(prompt))
    changed = prompt.copy()
    changed[2 * CHUNK - 1] = 0
    assert cache.start(changed, 500).length == CHUNK


def test_the_last_token_is_always_left_to_compute() -> None:
    cache = PrefixCache(2**20)
    prompt = list(range(2 * CHUNK))
    cache.add(prompt, filled(prompt))
    assert cache.start(prompt, 500).length == CHUNK
    assert cache.start([*prompt, 1], 500).length == 2 * CHUNK


def test_less_than_a_chunk_is_not_kept() -> None:
    cache = PrefixCache(2**20)
    prompt = list(range(CHUNK - 1))
    cache.add(prompt, filled(prompt))
    assert cache.start([*prompt, 1, 2, 3], 500).length == 0


def test_the_least_recently_used_goes_first() -> None:
    chunk_bytes = 2 * 4 * CHUNK
    cache = PrefixCache(2 * chunk_bytes)
    prompts = [[n] * CHUNK for n in range(3)]
    for prompt in prompts[:2]:
        cache.add(prompt, filled(prompt))
    assert cache.start([*prompts[0], 9], 500).length == CHUNK
    cache.add(prompts[2], filled(prompts[2]))
    assert [cache.start([*prompt, 9], 500).length for prompt in prompts] == [CHUNK, 0, CHUNK]


def test_a_longer_prompt_replaces_its_beginning() -> None:
    cache = PrefixCache(2**20)
    prompt = list(range(3 * CHUNK))
    for length in (CHUNK, 3 * CHUNK, 2 * CHUNK):
        cache.add(prompt[:length], filled(prompt[:length]))
    assert [len(tokens) for tokens in cache._entries] == [3 * CHUNK]
