"""The corpus that `harness datagen repairs` writes, by file."""

import random
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from harness.records.repair.text import name_choices
from trainers.small.recipe import RecipeError

_COLUMNS = ("package", "path", "name", "state", "places", "broken")
_HELD_OUT = 25  # one file of so many


@dataclass(frozen=True)
class Broken:
    """A function's state with an edit made, and the action that undoes it."""

    state: str
    action: str


@dataclass(frozen=True)
class Function:
    """A function of the corpus; see `harness.datagen.repairs.CorpusFunction`."""

    name: str
    state: str
    places: tuple[str, ...]
    broken: tuple[Broken, ...]


@dataclass(frozen=True)
class Corpus:
    """Functions by file; `held_out` are files that nothing is trained on."""

    files: tuple[tuple[Function, ...], ...]
    held_out: tuple[tuple[Function, ...], ...]

    @property
    def functions(self) -> list[Function]:
        """Those that are trained on."""
        return [one for file in self.files for one in file]


def load_corpus(path: Path) -> Corpus:
    """A corpus, without files in which there is nothing to choose. Raises RecipeError."""
    try:
        rows = pq.read_table(path, columns=list(_COLUMNS)).to_pylist()
    except (OSError, pa.ArrowException, ValueError) as error:
        raise RecipeError(f"{path}: no corpus of `harness datagen repairs`: {error}") from None
    found: dict[tuple[str, str], list[Function]] = {}
    for row in rows:
        broken = tuple(Broken(one["state"], one["action"]) for one in row["broken"])
        one = Function(row["name"], row["state"], tuple(row["places"]), broken)
        found.setdefault((row["package"], row["path"]), []).append(one)
    files = [tuple(found[key]) for key in sorted(found) if _usable(found[key])]
    random.Random(0).shuffle(files)  # noqa: S311
    count = -(-len(files) // _HELD_OUT)
    if len(files) < 2:
        raise RecipeError(f"{path}: {len(files)} files with functions to choose from; 2 needed")
    return Corpus(tuple(files[count:]), tuple(files[:count]))


def _usable(functions: list[Function]) -> bool:
    names = set()
    for one in functions:
        names |= set(name_choices([one.name]))
    return len(names) > 1 and any(one.broken for one in functions)
