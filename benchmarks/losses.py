"""Full-vocabulary divergences in chunks against the same with dense float32 logits.

Each measurement is a process of its own, one after the other, on the same tensors: forward and
backward of KL(p ‖ q), with H(q), TV and top-k of both, for one student and one teacher. Dense
logits of all tokens do not fit in most memories, so that the dense form runs on fewer tokens and
its peak is scaled by the number of tokens; its time likewise.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from typing import Any

import torch
from torch import Tensor

from trainers.losses.chunked import Projection, over_tokens
from trainers.losses.divergences import entropy, kl, log_probs, total_variation

K = 64


def body(student: Tensor, teacher: Tensor) -> dict[str, Tensor]:
    """All of one chunk."""
    log_p, log_q = log_probs(student), log_probs(teacher)
    with torch.no_grad():
        found = {
            "teacher_entropy": entropy(log_q),
            "tv": total_variation(log_p, log_q),
            "top_p": log_p.topk(K).indices,
            "top_q": log_q.topk(K).indices,
        }
    return found | {"loss": kl(log_p, log_q)}


def measure(form: str, tokens: int, vocabulary: int, hidden: int, chunk: int) -> dict[str, Any]:
    """Seconds and peak bytes beyond the inputs, of one form."""
    torch.manual_seed(0)
    student = torch.randn(tokens, hidden, requires_grad=True)
    teacher = torch.randn(tokens, hidden)
    heads = [torch.randn(vocabulary, hidden) * 0.05 for _ in range(2)]
    heads[0].requires_grad_()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.perf_counter()
    if form == "dense":
        found = body(student @ heads[0].T, teacher @ heads[1].T)
    else:
        pairs = [Projection(student, heads[0]), Projection(teacher, heads[1])]
        found = over_tokens(body, pairs, chunk=chunk)
    loss = found["loss"].sum()
    gradients = torch.autograd.grad(loss, [student, heads[0]])
    seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {
        "seconds": seconds,
        "bytes": (peak - before) * 1024,
        "loss": float(loss),
        "gradients": [float(each.double().norm()) for each in gradients],
    }


def apart(form: str, tokens: int, options: argparse.Namespace) -> dict[str, Any]:
    """`measure` in a process of its own."""
    size = [tokens, options.vocabulary, options.hidden, options.chunk]
    command = [sys.executable, "-m", "benchmarks.losses", "--one", form, *map(str, size)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def main() -> None:
    """Print one JSON object: figures, ratios, and how far the gradients differ."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tokens", type=int, default=16_384)
    parser.add_argument("--dense-tokens", type=int, default=2_048)
    parser.add_argument("--vocabulary", type=int, default=151_936)
    parser.add_argument("--hidden", type=int, default=896)
    parser.add_argument("--chunk", type=int, default=128)
    parser.add_argument("--one", nargs=5, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(options.one[0], *map(int, options.one[1:]))))
        return
    few = options.dense_tokens
    dense, same = apart("dense", few, options), apart("chunked", few, options)
    whole = apart("chunked", options.tokens, options)
    scale = options.tokens / few
    print(
        json.dumps(
            {
                "dense": dense | {"tokens": few},
                "chunked": same | {"tokens": few},
                "chunked_whole": whole | {"tokens": options.tokens},
                "time_ratio": same["seconds"] / dense["seconds"],
                "time_ratio_whole": whole["seconds"] / (dense["seconds"] * scale),
                "memory_ratio_whole": whole["bytes"] / (dense["bytes"] * scale),
                "relative_difference": max(
                    abs(one / other - 1)
                    for one, other in zip(same["gradients"], dense["gradients"], strict=True)
                ),
            },
            indent=1,
        )
    )


if __name__ == "__main__":
    main()
