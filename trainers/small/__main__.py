"""`python -m trainers.small`: train a small model from its recipe."""

import argparse
import sys
import time
from pathlib import Path

from trainers.small.recipe import RecipeError


def main() -> int:
    """Train, or continue; every exported model's scores go to standard output."""
    parser = argparse.ArgumentParser(
        prog="python -m trainers.small",
        description="Train a small model from scratch. The same command continues.",
    )
    parser.add_argument("recipe", type=Path, help="e.g. manifests/corpora/repair-base.yaml")
    parser.add_argument("--corpus", type=Path, required=True, help="`harness datagen repairs`")
    parser.add_argument("--output", type=Path, required=True, help="a folder")
    parser.add_argument("--episodes", type=int, default=400, help="of each score")
    arguments = parser.parse_args()
    try:
        _train(arguments)
    except RecipeError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def _train(arguments: argparse.Namespace) -> None:
    from trainers.small.corpus import load_corpus
    from trainers.small.evaluate import score
    from trainers.small.recipe import load_recipe
    from trainers.small.train import SmallTraining

    recipe, corpus = load_recipe(arguments.recipe), load_corpus(arguments.corpus)
    training = SmallTraining(recipe, corpus, arguments.output)
    print(
        f"{training.model.num_parameters():,} parameters, {len(corpus.functions):,} functions, "
        f"step {training.step} of {recipe.steps}",
        flush=True,
    )
    recent = 0.0
    for rows in training.batches(training.step):
        loss = training.run_step(rows)
        recent = 0.95 * recent + 0.05 * loss if recent else loss
        if training.step % recipe.snapshot_every and training.step != recipe.steps:
            continue
        folder = training.snapshot()
        found = score(training.model, training.tokenizer, corpus.held_out, arguments.episodes)
        print(
            f"step {training.step}: {time.process_time():.0f} CPU s, loss {recent:.3f}, "
            f"function {found.function:.3f}, place {found.place:.3f} "
            f"(chance {found.chance:.3f}) -> {folder}",
            flush=True,
        )
        training.save()


if __name__ == "__main__":
    raise SystemExit(main())
