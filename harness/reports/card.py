"""The reproducibility card of a run: what was asked, on what, and how to do it again."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

from harness.reports.run import Run
from harness.reports.text import line

ROW_CAP = 3000
FACT_CAP = 40
VALUE_CAP = 2000
DEPTH_CAP = 12
_SECRET = re.compile(r"(api_?key|password|secret|access_token|authorization)$", re.IGNORECASE)


@dataclass(frozen=True)
class Fact:
    """One line of the card. `file` is where it was read, empty when nothing was recorded."""

    label: str
    value: str
    file: str


@dataclass(frozen=True)
class Card:
    """One run's card, with its configuration and lock as flat rows."""

    name: str
    folder: str
    title: str
    command: Fact
    facts: tuple[Fact, ...]
    config: tuple[tuple[str, str], ...]
    lock: tuple[tuple[str, str], ...]


_FACTS: tuple[tuple[str, str, str], ...] = (
    ("Method", "run.yaml", "method.description"),
    ("Suite", "run.yaml", "suite.reference"),
    ("Suite revision", "run.yaml", "suite.revision"),
    ("Instances", "run.yaml", "suite.instances"),
    ("Suite SHA-256", "lock.json", "suite_sha256"),
    ("Seeds", "run.yaml", "seeds"),
    ("Date", "run.yaml", "created_at"),
    ("Profile", "run.yaml", "profile"),
    ("Sandbox", "run.yaml", "sandbox"),
    ("Model", "lock.json", "model"),
    ("Decoding", "lock.json", "decoding"),
    ("Budget of an attempt", "lock.json", "budget"),
    ("Limits of a sandbox", "lock.json", "limits"),
    ("Grader", "lock.json", "grader"),
    ("Packages", "lock.json", "packages"),
    ("Hardware", "run.yaml", "machine"),
    ("Workers", "run.yaml", "workers"),
    ("Image digests", "lock.json", "images"),
)


def cards(runs: Sequence[Run]) -> tuple[tuple[Fact, ...], list[Card]]:
    """What all runs have in common, and each run's card without it."""
    all_cards = [_card(run) for run in runs]
    first = all_cards[0].facts
    common = [f for f in first if len(runs) > 1 and all(f in card.facts for card in all_cards)]
    return tuple(common), [
        replace(card, facts=tuple(f for f in card.facts if f not in common)) for card in all_cards
    ]


def _card(run: Run) -> Card:
    """The card of one run; what a run did not record is named as such."""
    return Card(
        name=line(run.name),
        folder=run.folder.root.name,
        title=line(str(_look_up(run.config, "method.title") or "")),
        command=_fact(run, "How to reproduce", "run.yaml", "command"),
        facts=tuple(_fact(run, *fact) for fact in _FACTS),
        config=tuple(tree(run.config)),
        lock=tuple(tree(run.lock)),
    )


def notes(run: Run) -> tuple[str, ...]:
    """The run's own notes on what its numbers mean (`notes` of `run.yaml`)."""
    match run.config.get("notes"):
        case [*found]:
            return tuple(line(note) for note in found if isinstance(note, str))
        case _:
            return ()


def tree(value: Any) -> Iterator[tuple[str, str]]:
    """Every leaf of nested keys and values as (dotted path, text); secrets are withheld.

    Stops with a row that says so at `ROW_CAP` rows.
    """
    for number, row in enumerate(_leaves(value, "", DEPTH_CAP)):
        if number == ROW_CAP:
            yield "…", f"more than {ROW_CAP:,} rows: the rest is in the file"
            return
        yield row


def _leaves(value: Any, path: str, depth: int) -> Iterator[tuple[str, str]]:
    if _SECRET.search(path) and value is not None:
        yield line(path), "(withheld)"
    elif _is_scalar(value):
        yield line(path), _text(value)
    elif not depth:
        yield line(path), "(nested too deep to show)"
    else:
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, item in items:
            yield from _leaves(item, f"{path}.{key}" if path else str(key), depth - 1)


def _is_scalar(value: Any) -> bool:
    """Whether a value fits one row: no keys, or a list of such."""
    if isinstance(value, list):
        return not any(isinstance(item, dict | list) for item in value)
    return not (isinstance(value, dict) and value)


def _fact(run: Run, label: str, file: str, path: str) -> Fact:
    value = _look_up(run.config if file == "run.yaml" else run.lock, path)
    if value is None:
        return Fact(label, f"not recorded ({path} in {file})", "")
    if path == "images" and isinstance(value, dict) and len(value) > 1:
        return Fact(label, f"{len(set(map(str, value.values())))} images, below", file)
    if not _is_scalar(value):
        rows = islice(_leaves(value, "", DEPTH_CAP), FACT_CAP)
        return Fact(label, ", ".join(f"{key} {text}" for key, text in rows), file)
    return Fact(label, _text(value), file)


def _look_up(value: Any, path: str) -> Any:
    for key in path.split("."):
        if not isinstance(value, dict):
            return None
        value = value.get(key)
    return value


def _text(value: Any) -> str:
    match value:
        case None:
            text = "none"
        case bool():
            text = "yes" if value else "no"
        case list() | dict():
            text = ", ".join(map(str, value)) or "(empty)"
        case _:
            text = str(value)
    text = line(text)
    return text if len(text) <= VALUE_CAP else f"{text[:VALUE_CAP]}… ({len(text):,} characters)"
