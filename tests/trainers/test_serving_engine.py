"""The engine gives what the model gives: alone, in company, with and without its prefix cache."""

import copy
import queue
import random
from typing import Any

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    LlamaConfig,
    PretrainedConfig,
    Qwen2Config,
    Qwen3Config,
)

from tests.trainers.tiny import VOCABULARY, tiny_config, wait_until
from trainers.serving import attention
from trainers.serving.engine import (
    SLOTS,
    Engine,
    EngineFailure,
    GeneratedToken,
    Generation,
    PromptDone,
)
from trainers.serving.packed import pack_linear_layers
from trainers.serving.prefix_cache import CHUNK
from trainers.serving.sampling import SamplingParams

GREEDY = SamplingParams(temperature=0, top_p=1, top_k=0, seed=0)


class Job:
    """One submitted generation and what came of it."""

    def __init__(self, engine: Engine, prompt: list[int], tokens: int, **options: Any) -> None:
        self.events: queue.SimpleQueue[PromptDone | GeneratedToken | EngineFailure] = (
            queue.SimpleQueue()
        )
        settings: dict[str, Any] = {"sampling": GREEDY, "stop_ids": frozenset(), "top_logprobs": 2}
        self.generation = Generation(
            prompt=prompt, max_tokens=tokens, emit=self.events.put, **(settings | options)
        )
        engine.submit(self.generation)

    def result(self) -> tuple[list[int], list[Any]]:
        """All tokens and their log-probs."""
        found: list[GeneratedToken] = []
        while not found or found[-1].finish is None:
            event = self.events.get(timeout=60)
            if isinstance(event, EngineFailure):
                raise AssertionError(event.message)
            if isinstance(event, GeneratedToken):
                found.append(event)
        return [token.id for token in found], [token.logprobs for token in found]


def prompt(seed: int, length: int) -> list[int]:
    return random.Random(seed).choices(range(VOCABULARY - 2), k=length)


def build(config: PretrainedConfig, dtype: torch.dtype, implementation: str, seed: int = 0) -> Any:
    torch.manual_seed(seed)
    return AutoModelForCausalLM.from_config(
        copy.deepcopy(config), dtype=dtype, attn_implementation=implementation
    ).eval()


def engine_of(dtype: torch.dtype, cache_bytes: int = 2**24) -> Engine:
    attention.register_attention()
    model = build(LlamaConfig(**tiny_config()), dtype, attention.IMPLEMENTATION)
    if dtype is torch.bfloat16:
        pack_linear_layers(model, SLOTS)
    return Engine(model, prefix_cache_bytes=cache_bytes)


@pytest.fixture(scope="module", params=[torch.float32, torch.bfloat16], ids=["f32", "bf16"])
def dtype(request: pytest.FixtureRequest) -> torch.dtype:
    chosen: torch.dtype = request.param
    return chosen


@pytest.fixture(scope="module")
def engine(dtype: torch.dtype) -> Engine:
    return engine_of(dtype)


@pytest.mark.parametrize("kind", [LlamaConfig, Qwen2Config, Qwen3Config])
@pytest.mark.parametrize("length", [1, 5, CHUNK, 2 * CHUNK + 7])
def test_greedy_tokens_and_logprobs_are_the_models_own(
    kind: type[PretrainedConfig], length: int
) -> None:
    attention.register_attention()
    config = kind(**tiny_config())
    reference = build(config, torch.float32, "sdpa")
    ours = Engine(build(config, torch.float32, attention.IMPLEMENTATION), prefix_cache_bytes=2**20)
    tokens, logprobs = Job(ours, prompt(length, length), 20).result()
    ids = torch.tensor([prompt(length, length)])
    with torch.inference_mode():
        expected = reference.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=20,
            do_sample=False,
            eos_token_id=VOCABULARY + 1,
        )[0, length:]
        whole = torch.tensor([ids[0].tolist() + tokens])
        scores = torch.log_softmax(reference(input_ids=whole).logits[0, length - 1 : -1], -1)
    assert tokens == expected.tolist()
    chosen = scores.gather(1, torch.tensor(tokens)[:, None])[:, 0]
    assert [one.logprob for one in logprobs] == pytest.approx(chosen.tolist(), abs=1e-4)
    assert all(
        one.rank == 1 and one.top[0] == (t, one.logprob)
        for t, one in zip(tokens, logprobs, strict=True)
    )


def test_prompt_logprobs_are_the_models_own() -> None:
    config = LlamaConfig(**tiny_config())
    attention.register_attention()
    ours = Engine(build(config, torch.float32, attention.IMPLEMENTATION), prefix_cache_bytes=2**20)
    ids = prompt(3, CHUNK + 40)
    Job(ours, ids, 1).result()
    job = Job(ours, ids, 1, prompt_logprobs=0)
    done = job.events.get(timeout=60)
    assert isinstance(done, PromptDone)
    with torch.inference_mode():
        logits = build(config, torch.float32, "sdpa")(input_ids=torch.tensor([ids])).logits[0]
    expected = torch.log_softmax(logits[:-1], -1).gather(1, torch.tensor(ids[1:])[:, None])[:, 0]
    assert [one.logprob for one in done.logprobs] == pytest.approx(expected.tolist(), abs=1e-4)


def test_company_changes_nothing(engine: Engine) -> None:
    """Bit-equal log-probs alone and among others, whatever slot and step the others are at."""
    sampled = [SamplingParams(temperature=0.9, top_p=0.95, top_k=0, seed=seed) for seed in range(7)]
    prompts = [prompt(seed, 60 + 90 * seed) for seed in range(7)]
    alone = [
        Job(engine, ids, 25 + 3 * seed, sampling=sampled[seed]).result()
        for seed, ids in enumerate(prompts)
    ]
    together = [
        Job(engine, ids, 25 + 3 * seed, sampling=sampled[seed]) for seed, ids in enumerate(prompts)
    ]
    assert [job.result() for job in together] == alone
    backwards = [
        Job(engine, prompts[seed], 25 + 3 * seed, sampling=sampled[seed])
        for seed in reversed(range(7))
    ]
    assert [job.result() for job in reversed(backwards)] == alone


def test_prefix_cache_changes_nothing(dtype: torch.dtype) -> None:
    """A growing conversation, bit-equal with the cache and without."""
    cached, uncached = engine_of(dtype), engine_of(dtype, cache_bytes=0)
    sampling = SamplingParams(temperature=0.7, top_p=0.95, top_k=0, seed=5)
    history = prompt(1, 3 * CHUNK - 5)
    reused = 0
    for turn in range(4):
        with_cache = Job(cached, history, 30, sampling=sampling).result()
        assert with_cache == Job(uncached, history, 30, sampling=sampling).result()
        assert with_cache == Job(cached, history, 30, sampling=sampling).result()
        reused = cached._prefixes.start(history, len(history)).length
        history = history + with_cache[0] + prompt(turn, 70)
    assert reused >= 3 * CHUNK
    assert uncached._prefixes.start(history, len(history)).length == 0


def test_prefix_cache_saves_work(monkeypatch: pytest.MonkeyPatch) -> None:
    chunks: list[int] = []
    prefill = Engine._prefill_chunk

    def counted(self: Engine, rows: list[Any]) -> None:
        chunks.append(rows[0].cache.length)
        prefill(self, rows)

    monkeypatch.setattr(Engine, "_prefill_chunk", counted)
    engine = engine_of(torch.float32)
    history = prompt(1, 2 * CHUNK + 9)
    Job(engine, history, 1).result()
    assert chunks == [0, CHUNK, 2 * CHUNK]
    Job(engine, [*history, 1, 2, 3], 1).result()
    assert chunks[3:] == [2 * CHUNK]


def test_seed_decides(engine: Engine) -> None:
    def run(seed: int) -> list[int]:
        sampling = SamplingParams(temperature=1, top_p=1, top_k=0, seed=seed)
        return Job(engine, prompt(0, 30), 20, sampling=sampling).result()[0]

    assert run(1) == run(1)
    assert run(1) != run(2)


def test_stop_id_ends_an_answer(engine: Engine) -> None:
    tokens, _ = Job(engine, prompt(4, 20), 12).result()
    job = Job(engine, prompt(4, 20), 12, stop_ids=frozenset({tokens[5]}))
    assert job.result()[0] == tokens[: tokens.index(tokens[5]) + 1]


def test_a_cancelled_request_frees_its_slot(engine: Engine) -> None:
    endless = [Job(engine, prompt(seed, 40), 900) for seed in range(SLOTS + 2)]
    waiting = Job(engine, prompt(9, 40), 3)
    wait_until(lambda: all(job.events.qsize() > 2 for job in endless[:SLOTS]))
    for job in endless:
        job.generation.cancelled = True
    assert len(waiting.result()[0]) == 3
    wait_until(lambda: not engine._running)
    assert all(job.events.qsize() < 900 for job in endless)


def test_a_failing_request_does_not_harm_the_others(engine: Engine) -> None:
    good = [Job(engine, prompt(seed, 40), 30) for seed in range(2)]
    bad = Job(engine, [VOCABULARY + 5], 30)
    failure = bad.events.get(timeout=60)
    assert isinstance(failure, EngineFailure)
    assert "IndexError" in failure.message
    assert [len(job.result()[0]) for job in good] == [30, 30]
    assert engine.alive
