"""`python -m trainers.data.check_calls RUN`: are a run's recorded tokens what the model saw?

Every answered call of every attempt is compared with what its text gives by itself: the prompt ids
with the request, rendered by the chat template; the sampled ids, decoded, with the answer; the mask
with the sampled ids. Exits with 1 when one differs.
"""

import argparse
import json
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from harness.records import find_runs
from harness.records.cache import cache_root


def check_run(folder: Path, tokenizer: Any) -> tuple[Counter[str], list[str]]:
    """What was found how often in a run, and each difference in words."""
    counts: Counter[str] = Counter()
    differences: list[str] = []
    for path in sorted(folder.glob("attempts/*/*/calls.parquet")):
        counts["attempts"] += 1
        for row in _rows(path):
            counts[f"calls {row['status']}"] += 1
            if row["status"] != "answered":
                continue
            counts[f"ids from {row['ids_from']}"] += 1
            if row["ids_from"] == "none":
                continue
            counts["prompt tokens"] += len(row["prompt_ids"])
            counts["sampled tokens"] += len(row["sampled_ids"])
            where = f"{path.relative_to(folder)}, call {row['call']}"
            differences += [f"{where}: {what}" for what in check_call(row, tokenizer)]
    return counts, differences


def check_call(row: dict[str, Any], tokenizer: Any) -> Iterator[str]:
    """Each way in which a call's ids are not those of its text."""
    prompt, sampled = row["prompt_ids"], row["sampled_ids"]
    if row["mask"] != [False] * len(prompt) + [True] * len(sampled):
        yield "the mask does not cover exactly the sampled tokens"
    if row["logprobs"] and len(row["logprobs"]) != len(sampled):
        yield f"{len(row['logprobs'])} log-probabilities for {len(sampled)} sampled tokens"
    if row["generated_tokens"] != len(sampled) or row["prompt_tokens"] != len(prompt):
        yield "the endpoint counts other numbers of tokens"
    request, response = json.loads(row["request"]), json.loads(row["response"])
    rendered = tokenizer.apply_chat_template(
        [_flat(message) for message in request["messages"]],
        tools=request.get("tools"),
        tokenize=False,
        add_generation_prompt=True,
    )
    if tokenizer.decode(prompt) != rendered:
        yield "the prompt ids do not decode to the rendered conversation"
    if tokenizer(rendered, add_special_tokens=False)["input_ids"] != prompt:
        yield "the rendered conversation has other prompt ids"
    content = response["choices"][0]["message"].get("content") or ""
    decoded = tokenizer.decode(sampled, skip_special_tokens=True)
    rest = decoded.removeprefix(content)
    rest = rest.strip("\ufffd")  # a character that the limit of tokens cut in two
    if not decoded.startswith(content) or not (rest == "" or _stopped(rest, request)):
        yield f"the sampled ids decode to {decoded[-80:]!r}, the answer ends in {content[-80:]!r}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Check the run, or the runs, in a folder; print counts and differences as JSON."""
    parser = argparse.ArgumentParser(prog="python -m trainers.data.check_calls")
    parser.add_argument("run", type=Path, help="a run, or a folder of runs")
    parser.add_argument("--model", default="smollm2-135m", help="shipped name, folder or hub id")
    options = parser.parse_args(arguments)

    from transformers import AutoTokenizer

    from trainers.serving.models import resolve_model

    model = resolve_model(options.model, cache_root() / "models")
    tokenizer = AutoTokenizer.from_pretrained(model.folder, local_files_only=True)
    counts: Counter[str] = Counter()
    differences: list[str] = []
    for run in find_runs(options.run):
        found, different = check_run(run.root, tokenizer)
        counts += found
        differences += different
    print(json.dumps({"counts": dict(counts), "differences": differences}, indent=1))
    return 1 if differences else 0


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches():
            yield from batch.to_pylist()


def _flat(message: dict[str, Any]) -> dict[str, Any]:
    content = message.get("content")
    if isinstance(content, list):
        content = "".join(part["text"] for part in content)
    return message | {"content": content}


def _stopped(rest: str, request: dict[str, Any]) -> bool:
    """Whether the text behind an answer is a stop string, which answers leave out."""
    stops = request.get("stop") or []
    return any(rest.startswith(stop) for stop in ([stops] if isinstance(stops, str) else stops))


if __name__ == "__main__":
    sys.exit(main())
