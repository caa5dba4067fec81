"""`python -m trainers.small.prune`: a weaker student, out of a teacher."""

import argparse
import shutil
import sys
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM

_TOKENISER = ("chat_template.jinja", "tokenizer.json", "tokenizer_config.json")


def prune(model: torch.nn.Module, share: float) -> None:
    """Set the smallest `share` of each layer's matrices to zero, by magnitude, in place.

    Embeddings and norms stay. Of weights of one size all or none go.
    """
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.dim() < 2 or "embed" in name or "lm_head" in name:
                continue
            sizes = weight.float().abs()
            count = int(share * weight.numel())
            if count:
                weight.mul_(sizes > sizes.flatten().kthvalue(count).values)


def main() -> int:
    """Write the pruned model to a folder."""
    parser = argparse.ArgumentParser(prog="python -m trainers.small.prune")
    parser.add_argument("model", type=Path, help="e.g. manifests/models/repair-teacher")
    parser.add_argument("output", type=Path, help="a folder that is not there yet")
    parser.add_argument("--share", type=float, default=0.8, help="of each matrix; 0.8")
    options = parser.parse_args()
    if not 0 < options.share < 1 or not (options.model / "config.json").is_file():
        print("give a model's folder, and a share between 0 and 1", file=sys.stderr)
        return 2
    if options.output.exists():
        print(f"{options.output} is there: give another folder", file=sys.stderr)
        return 2
    model = AutoModelForCausalLM.from_pretrained(options.model, dtype="auto")
    prune(model, options.share)
    model.save_pretrained(options.output)
    for name in _TOKENISER:
        if (options.model / name).is_file():
            shutil.copyfile(options.model / name, options.output / name)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
