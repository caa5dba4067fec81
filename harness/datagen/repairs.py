"""A corpus of synthetic repairs: functions of pinned packages, each also with single edits undone.

No test is run: what an edit broke is known because the edit was made here.
"""

import hashlib
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field, ValidationError

from harness.environments.recipe import Sdist
from harness.environments.source import fetch_sdist
from harness.records import Record
from harness.records.repair.functions import (
    EditableFunction,
    RepairSourceError,
    editable_functions,
    find_edit,
)
from harness.records.repair.places import edited
from harness.records.repair.text import place_choice, second_state, short_name
from pi_extractors.snapshot import ArchiveSnapshot

MOST_EDITS = 4
_TEXTS = ("package", "path", "name", "state")
_ASIDE = re.compile(
    r"(^|/)(\w*tests?|test[_-]\w*|\w+_test\w*|conftest|\w*vendor\w*|docs?|examples?)\b"
)


class CorpusError(ValueError):
    """A corpus that cannot be made; the text says why."""


class CorpusSource(Sdist):
    """A source distribution of the corpus and what it is licensed under."""

    licence: str


class CorpusManifest(Record):
    """`manifests/corpora/<name>.yaml`: the packages of a corpus."""

    schema_version: Literal[1] = 1
    name: str
    sources: Annotated[tuple[CorpusSource, ...], Field(min_length=1)]


@dataclass(frozen=True)
class CorpusFunction:
    """A function, whole and broken.

    state: `second_state` of it, whole. places: what stands at its places. broken: for each edit,
    the state in which it was made, and the action that undoes it.
    """

    package: str
    path: str
    name: str
    state: str
    places: tuple[str, ...]
    broken: tuple[tuple[str, str], ...] = field(repr=False)


def load_manifest(path: Path) -> CorpusManifest:
    """A corpus's manifest. Raises CorpusError."""
    try:
        return CorpusManifest.model_validate(yaml.safe_load(path.read_text()))
    except (OSError, yaml.YAMLError, ValidationError) as error:
        raise CorpusError(f"{path}: {error}") from None


def write_corpus(manifest: CorpusManifest, cache: Path, out: Path) -> dict[str, int]:
    """Write a corpus as Parquet, one row a function, and return the functions of each package.

    The same manifest gives the same bytes on one version of Python. Raises SourceError when a
    source distribution cannot be had.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    seen: set[bytes] = set()
    rows: list[dict[str, Any]] = []
    counts: dict[str, int] = {}
    for source in manifest.sources:
        archive = fetch_sdist(source, cache)
        found = [
            {
                **{name: getattr(one, name) for name in _TEXTS},
                "places": list(one.places),
                "broken": [{"state": state, "action": action} for state, action in one.broken],
            }
            for one in corpus_functions(source.name, _python_files(archive), seen)
        ]
        counts[source.name] = len(found)
        rows += found
    text, texts = pa.string(), pa.list_(pa.string())
    broken = pa.list_(pa.struct([("state", text), ("action", text)]))
    schema = pa.schema(
        [*((name, text) for name in _TEXTS), ("places", texts), ("broken", broken)],
        metadata={"manifest": manifest.model_dump_json()},
    )
    draft = out.with_name(f".{out.name}.draft")
    out.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), draft, compression="zstd")
    draft.replace(out)
    return counts


def corpus_functions(
    package: str, files: Iterator[tuple[str, str]], seen: set[bytes]
) -> Iterator[CorpusFunction]:
    """The functions of Python files, each text once, with at most `MOST_EDITS` edits each.

    files: paths and texts. seen: digests of the texts that are there already; added to.
    """
    for path, text in files:
        try:
            functions = editable_functions(text)
        except RepairSourceError:
            continue
        for one in functions.values():
            digest = hashlib.sha256(one.text.encode()).digest()
            if digest in seen:
                continue
            seen.add(digest)
            yield CorpusFunction(
                package=package,
                path=path,
                name=one.name,
                state=second_state(one),
                places=tuple(place.text for place in one.shown),
                broken=tuple(_broken(one, random.Random(digest))),  # noqa: S311
            )


def _broken(function: EditableFunction, random_: random.Random) -> Iterator[tuple[str, str]]:
    edits = [(place, choice) for place in function.shown for choice in place.choices]
    random_.shuffle(edits)
    for place, choice in edits[:MOST_EDITS]:
        text = edited(function.text, place, choice)
        try:
            broken = editable_functions(text).get(short_name(function.name))
        except RepairSourceError:  # a `continue` outside of a loop is no Python, for one
            continue
        if broken is None or len(broken.shown) != len(function.shown):
            continue
        undo = find_edit(broken, text, function.text)
        if undo:
            yield second_state(broken), place_choice(*undo)


def _python_files(archive: Path) -> Iterator[tuple[str, str]]:
    snapshot = ArchiveSnapshot(archive)
    for path in sorted(snapshot.files):
        if path.endswith(".py") and not _ASIDE.search(path.lower()):
            try:
                yield path, snapshot.read(path).decode()
            except UnicodeDecodeError:
                continue
