"""Token exactness with the shipped model: what the record says is what the model saw and said."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pyarrow.parquet as pq
import pytest
from tokenizers import Tokenizer

from harness.agents.base import Decoding, EndpointFailure
from harness.agents.embedded import EmbeddedModel, embedded_endpoint
from harness.gateway import Gateway, GatewayOptions
from harness.records import Budget
from harness.records.cache import cache_root
from tests.gateway.clients import ask, client, streamed_text
from trainers.serving.models import resolve_model

pytestmark = pytest.mark.slow

END = "<|im_end|>"
CUT = "\N{REPLACEMENT CHARACTER}"
SYSTEM = "You are a helpful AI assistant named SmolLM, trained by Hugging Face"


@pytest.fixture(scope="module")
def smollm2(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedModel]:
    log = tmp_path_factory.mktemp("log") / "model.log"
    try:
        with embedded_endpoint("smollm2-135m", log=log) as model:
            yield model
    except EndpointFailure as failure:
        if "could not download" in str(failure):
            pytest.skip("the model is not in the cache and cannot be downloaded")
        raise


def test_every_token_is_recorded_as_it_was_sampled(smollm2: EmbeddedModel, tmp_path: Path) -> None:
    folder = resolve_model("smollm2-135m", cache_root() / "models").folder
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    endpoint = smollm2.endpoint.model_copy(update={"decoding": Decoding(max_tokens=24)})
    calls = tmp_path / "calls.parquet"
    with (
        Gateway(endpoint, GatewayOptions(token_ids="require")) as gateway,
        gateway.open(budget=Budget(), seed=5, calls=calls) as door,
        client(door) as http,
    ):
        said = _converse(http)
        report = door.close()
    rows = pq.read_table(calls).to_pylist()
    assert len(rows) == len(said) == report.usage.turns == 6
    for row, (messages, text) in zip(rows, said, strict=True):
        prompt, sampled = row["prompt_ids"], row["sampled_ids"]
        everything = tokenizer.decode(prompt + sampled, skip_special_tokens=False)
        if row["finish_reason"] == "stop":
            assert everything == _rendered(messages) + text + END
        else:  # the server's text leaves out a character that the limit cut in two
            assert everything.removesuffix(CUT) == _rendered(messages) + text
        assert row["mask"] == [False] * len(prompt) + [True] * len(sampled)
        assert row["ids_from"] == "endpoint"
        assert len(row["logprobs"]) == len(sampled) == row["generated_tokens"]
        assert max(row["logprobs"]) <= 0
        assert len(prompt) == row["prompt_tokens"]
    assert {row["finish_reason"] for row in rows} == {"stop", "length"}
    assert report.calls.ids_from_endpoint == len(rows)
    assert _again(smollm2, rows[0]) == rows[0]["sampled_ids"]


def _converse(http: httpx.Client) -> list[tuple[list[dict[str, str]], str]]:
    """Conversations whose answers end by themselves or not, streamed and not."""
    said = []
    for stream in (False, True):
        for question in ("Say yes.", "Zähle bis hundert — 日本語 🙂\n\n  please <|im_start|>"):
            messages = [{"role": "user", "content": question}]
            for _ in range(2 if question == "Say yes." else 1):
                answer = ask(http, messages, stream=stream)
                if stream:
                    text = streamed_text(answer)
                else:
                    text = answer.json()["choices"][0]["message"]["content"]
                said.append((messages, text))
                more = {"role": "user", "content": "Again, in many words."}
                messages = [*messages, {"role": "assistant", "content": text}, more]
    return said


def _rendered(messages: list[dict[str, str]]) -> str:
    """SmolLM2's chat template, written out."""
    turns = [{"role": "system", "content": SYSTEM}, *messages]
    texts = (f"<|im_start|>{turn['role']}\n{turn['content']}{END}\n" for turn in turns)
    return "".join(texts) + "<|im_start|>assistant\n"


def _again(smollm2: EmbeddedModel, row: dict[str, Any]) -> list[int]:
    """What the model samples from a row's prompt ids with the row's decoding."""
    body = {"prompt": row["prompt_ids"], "return_token_ids": True}
    body |= {name: row[name] for name in ("temperature", "top_p", "max_tokens", "seed")}
    url = f"{smollm2.endpoint.base_url}/completions"
    answer = httpx.post(url, json=body, timeout=120).raise_for_status().json()
    ids: list[int] = answer["choices"][0]["token_ids"]
    return ids
