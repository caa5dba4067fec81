"""Recorded tokens are compared with what their text gives."""

from pathlib import Path
from typing import Any

import httpx
import pytest

from harness.agents.embedded import embedded_endpoint
from harness.gateway import Gateway
from harness.records import Budget
from trainers.data.check_calls import check_call, check_run


@pytest.fixture(scope="module")
def run(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run's folder with the calls of one attempt."""
    root = tmp_path_factory.mktemp("run")
    calls = root / "attempts" / "i" / "0" / "calls.parquet"
    calls.parent.mkdir(parents=True)
    with (
        embedded_endpoint(str(tiny_folder), log=root / "model.log", threads=1) as (endpoint, _),
        Gateway(endpoint) as gateway,
        gateway.open(budget=Budget(turns=3), seed=1, calls=calls) as door,
    ):
        transport = httpx.HTTPTransport(uds=str(door.endpoint.socket))
        with httpx.Client(transport=transport, timeout=120) as client:
            for text in ("hello", "hello again", "once more", "one too many"):
                body = {"messages": [{"role": "user", "content": text}], "max_tokens": 8}
                client.post(f"{door.endpoint.base_url}/chat/completions", json=body)
    return root


@pytest.fixture(scope="module")
def tokenizer(tiny_folder: Path) -> Any:
    """The tokenizer of the model that answered."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(tiny_folder, local_files_only=True)


def test_recorded_calls_are_exact(run: Path, tokenizer: Any) -> None:
    counts, differences = check_run(run, tokenizer)
    assert differences == []
    assert counts["attempts"] == 1
    assert (counts["calls answered"], counts["calls refused"]) == (3, 1)
    assert counts["ids from endpoint"] == 3
    assert counts["sampled tokens"] > 0


@pytest.mark.parametrize(
    ("column", "said"),
    [
        ("prompt_ids", "other prompt ids"),
        ("sampled_ids", "the sampled ids decode to"),
        ("mask", "the mask does not cover"),
        ("logprobs", "log-probabilities"),
    ],
)
def test_what_differs_is_said(run: Path, tokenizer: Any, column: str, said: str) -> None:
    import pyarrow.parquet as pq

    [row, *_] = pq.read_table(run / "attempts/i/0/calls.parquet").to_pylist()
    assert list(check_call(row, tokenizer)) == []
    changed = row[column][1:] if column == "logprobs" else row[column][::-1]
    assert any(said in what for what in check_call(row | {column: changed}, tokenizer))
