"""Full-vocabulary divergences in chunks: memory, time and gradients, on the same tensors, against
dense float32, and TRL's and Liger's losses where they are installed (`trl`, `liger-kernel`).

Each measurement is a process of its own, one after the other: forward and backward for one student
whose output embedding is trained, and one teacher, from last hidden states to gradients. Memory is
the peak beyond the inputs; time is CPU seconds, which a busy machine disturbs less. `full` has
H(q), TV and the top 64 of both beside the KL; the others are the loss alone. Dense logits of all
tokens do not fit in most memories: forms are compared at a size that fits all, and ours is measured
at the whole size, against the dense figures times the ratio of tokens.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from trainers.losses.chunked import Projection, over_tokens
from trainers.losses.divergences import entropy, jensen_shannon, kl, log_probs, total_variation

K = 64
SAMPLED_ROWS = 997  # of the embedding's gradient, to compare
FORMS = ("dense", "ours", "trl", "liger")
LOSSES = ("full", "reverse-kl", "jsd")


def full(student: Tensor, teacher: Tensor) -> dict[str, Tensor]:
    """The KL and everything that gates ask for."""
    log_p, log_q = log_probs(student), log_probs(teacher)
    with torch.no_grad():
        found = {
            "teacher_entropy": entropy(log_q),
            "tv": total_variation(log_p, log_q),
            "top_p": log_p.topk(K).indices,
            "top_q": log_q.topk(K).indices,
        }
    return found | {"loss": kl(log_p, log_q)}


def reverse_kl(student: Tensor, teacher: Tensor) -> dict[str, Tensor]:
    """The loss of OPD."""
    return {"loss": kl(log_probs(student), log_probs(teacher))}


def jsd(student: Tensor, teacher: Tensor) -> dict[str, Tensor]:
    """The loss of GKD."""
    return {"loss": jensen_shannon(log_probs(student), log_probs(teacher), 0.5)}


BODIES = {"full": full, "reverse-kl": reverse_kl, "jsd": jsd}


def mean_loss(form: str, loss: str, pairs: Sequence[Projection], chunk: int) -> Tensor:
    """The mean over tokens by one form."""
    student, teacher = pairs
    beta = 0.5 if loss == "jsd" else 1.0  # 1 is the reverse KL in TRL and Liger
    if form == "ours":
        return over_tokens(BODIES[loss], pairs, chunk=chunk, gradient_of="loss")["loss"].mean()
    if form == "dense":
        return BODIES[loss](student.logits(student.hidden), teacher.logits(teacher.hidden))[
            "loss"
        ].mean()
    if form == "trl":
        trl: Any = import_module("trl.experimental.gkd.gkd_trainer")
        logits = [each.logits(each.hidden)[None] for each in pairs]
        labels = torch.zeros(1, len(student.hidden), dtype=torch.long)
        found: Tensor = trl.GKDTrainer.generalized_jsd_loss(*logits, labels=labels, beta=beta)
        return found
    liger = import_module("liger_kernel.chunked_loss").LigerFusedLinearJSDLoss(
        weight_hard_loss=0.0, weight_soft_loss=1.0, beta=beta, compiled=False, chunk_size=chunk
    )
    labels = torch.zeros(len(student.hidden), dtype=torch.long)
    result: Tensor = liger(student.hidden, student.head, teacher.hidden, teacher.head, labels)
    return result


def measure(form: str, loss: str, size: Sequence[int], out: Path) -> dict[str, float]:
    """CPU seconds and peak bytes beyond the inputs; gradients of a sample go to a file."""
    tokens, vocabulary, hidden, chunk = size
    torch.manual_seed(0)
    student = torch.randn(tokens, hidden, requires_grad=True)
    teacher = torch.randn(tokens, hidden)
    heads = [torch.randn(vocabulary, hidden) * 0.05 for _ in range(2)]
    heads[0].requires_grad_()
    pairs = [Projection(student, heads[0]), Projection(teacher, heads[1])]
    mean_loss(
        form, loss, [Projection(*(x[:128] for x in pair)) for pair in pairs], chunk
    )  # imports
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began, wall = time.process_time(), time.perf_counter()
    value = mean_loss(form, loss, pairs, chunk)
    gradients = torch.autograd.grad(value, [student, heads[0]])
    seconds, wall = time.process_time() - began, time.perf_counter() - wall
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    torch.save([gradients[0], gradients[1][::SAMPLED_ROWS].clone()], out)
    return {
        "cpu_seconds": round(seconds, 2),
        "wall_seconds": round(wall, 2),
        "gib": round((peak - before) / 2**20, 3),
        "value": float(value.detach()),
    }


def apart(form: str, loss: str, size: Sequence[int], out: Path) -> dict[str, float]:
    """`measure` in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.losses", "--one", form, loss, str(out)]
    command += map(str, size)
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def difference(one: Path, other: Path) -> float:
    """How far gradients are apart, relative to the largest entry."""
    return max(
        float((a - b).abs().max() / b.abs().max())
        for a, b in zip(torch.load(one), torch.load(other), strict=True)
    )


def main() -> None:
    """Print a line of JSON for each form, with its ratios to the dense one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tokens", type=int, default=16_384, help="the whole size")
    parser.add_argument("--few", type=int, default=1_024, help="the size that fits all forms")
    parser.add_argument("--vocabulary", type=int, default=151_936)
    parser.add_argument("--hidden", type=int, default=896)
    parser.add_argument("--chunk", type=int, default=128)
    parser.add_argument("--losses", nargs="+", choices=LOSSES, default=LOSSES)
    parser.add_argument("--forms", nargs="+", choices=FORMS, default=FORMS)
    parser.add_argument("--one", nargs=7, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        form, loss, out, *size = options.one
        print(json.dumps(measure(form, loss, [int(each) for each in size], Path(out))))
        return
    rest = [options.vocabulary, options.hidden, options.chunk]
    with tempfile.TemporaryDirectory() as folder:
        for loss in options.losses:
            dense_file = Path(folder, "dense")
            dense = apart("dense", loss, [options.few, *rest], dense_file)
            show(loss, "dense", options.few, dense, dense)
            for form in options.forms:
                if form == "dense" or (loss == "full" and form != "ours"):
                    continue
                file = Path(folder, form)
                found = apart(form, loss, [options.few, *rest], file)
                found["gradient_difference"] = difference(file, dense_file)
                show(loss, form, options.few, found, dense)
        if options.tokens:
            loss = options.losses[0]
            dense = apart("dense", loss, [options.few, *rest], dense_file)
            scale = options.tokens / options.few
            scaled = {name: value * scale for name, value in dense.items()}
            whole = apart("ours", loss, [options.tokens, *rest], Path(folder, "ours"))
            show(loss, "ours, dense scaled", options.tokens, whole, scaled)


def show(
    loss: str, form: str, tokens: int, found: dict[str, float], dense: dict[str, float]
) -> None:
    """One line."""
    ratios = {
        "time_ratio": round(found["cpu_seconds"] / dense["cpu_seconds"], 3),
        "memory_ratio": round(found["gib"] / dense["gib"], 4),
    }
    print(json.dumps({"loss": loss, "form": form, "tokens": tokens, **found, **ratios}), flush=True)


if __name__ == "__main__":
    main()
