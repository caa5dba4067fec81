"""A LoRA adapter that knows nothing: the control of what an adapter's capacity alone does.

python -m trainers.adapters.chance ADAPTER OUT [--seed N]
"""

import argparse
import json
import shutil
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

from trainers.engine.adapter_file import save_adapter
from trainers.engine.networks import ADAPTER_FILE


def write_random_adapter(source: Path, out: Path, seed: int) -> None:
    """Write an adapter of normal draws: every factor has the shape and the norm of the source's.

    It belongs to the source's base weights. Raises FileExistsError, and ValueError for a folder
    without an adapter.
    """
    if out.exists():
        raise FileExistsError(f"{out} exists: name another folder or remove it")
    try:
        with safe_open(source / ADAPTER_FILE, "pt") as file:
            metadata = file.metadata() or {}
            factors = {name: file.get_tensor(name) for name in sorted(file.keys())}
    except (OSError, SafetensorError) as error:
        raise ValueError(f"{source}: no adapter in peft's format ({error})") from None
    generator = torch.Generator().manual_seed(seed)
    drawn = {}
    for name, factor in factors.items():
        noise = torch.randn(factor.shape, generator=generator)
        drawn[name] = (noise * (factor.float().norm() / noise.norm())).to(factor.dtype)
    draft = out.with_name(f".{out.name}.draft")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    save_adapter(drawn, draft / ADAPTER_FILE, metadata)
    shutil.copyfile(source / "adapter_config.json", draft / "adapter_config.json")
    card = {"schema_version": 1, "random": {"shapes_and_norms_of": str(source), "seed": seed}}
    (draft / "training.json").write_text(json.dumps(card, indent=1) + "\n", encoding="utf-8")
    draft.rename(out)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m trainers.adapters.chance", description=__doc__)
    parser.add_argument("adapter", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    try:
        write_random_adapter(given.adapter, given.out, given.seed)
    except (OSError, ValueError) as error:
        parser.exit(2, f"error: {error}\n")


if __name__ == "__main__":
    main()
