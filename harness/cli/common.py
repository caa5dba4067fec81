"""Options and parsing that several commands share."""

from typing import Annotated

import typer

JSON_OPTION = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


def parse_seeds(text: str) -> tuple[int, ...]:
    """`3` is seeds 0, 1, 2; `0,7` is those two. Raises typer.BadParameter."""
    try:
        if "," in text:
            seeds = tuple(int(part) for part in text.split(",") if part.strip())
        else:
            seeds = tuple(range(int(text)))
    except ValueError:
        seeds = ()
    if not seeds or min(seeds) < 0 or len(set(seeds)) != len(seeds):
        raise typer.BadParameter(f"{text!r}: give how many (3) or distinct seeds (0,7)")
    return seeds
