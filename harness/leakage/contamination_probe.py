"""A gold patch cut in two, its control, and how much of the hidden half a text has."""

import builtins
import hashlib
import keyword
import re
import sys
from collections.abc import Iterator
from typing import NamedTuple

from harness.records import Instance, Record

N = 5  # words of an n-gram
SHOWN_CHARACTERS = 3000  # of the patch's first half, its end
ISSUE_CHARACTERS = 2000
HIDDEN_CHARACTERS = 1200
_FEWEST_GRAMS = 8
_SHORTEST = 3
_WORD = re.compile(r"[A-Za-z_]\w*|\d+|[^\w\s]")
_NAME = re.compile(r"[A-Za-z_]\w{3,}")
_PART = re.compile(r"[a-z]{3,}|[A-Z][a-z]{2,}|[A-Z]{3,}")
_KEPT = (
    frozenset(keyword.kwlist)
    | frozenset(dir(builtins))
    | frozenset(sys.stdlib_module_names)
    | frozenset({"self", "args", "kwargs", "diff", "index", "test", "tests"})
)
_WORDS = """
amber anchor arbor basin beacon birch bridge canyon cedar cinder circuit cobalt copper
coral crater crest delta dune ember fabric falcon fathom fern flint forge garnet glacier
granite grove harbor hazel indigo inlet ivory jasper juniper kernel lagoon lantern larch
ledge lemon lichen linen lotus magnet maple marble meadow mesa mica mortar mosaic nectar
nickel oasis ocher olive onyx orchid osprey pebble pepper pewter pigment pine plaza
pollen prism quarry quartz raven reef resin ridge river rustic saffron sage sierra
silver slate spruce summit tarn teal thistle timber topaz tundra umber valley velvet
violet walnut willow zephyr zinc
"""
_OTHER = tuple(_WORDS.split())

INSTRUCTION = (
    "Below is an issue of the project {repo} and the beginning of the diff that resolved it. "
    "Continue the diff exactly where it stops, as it was committed. Write nothing but the rest "
    "of the diff.\n\n<issue>\n{issue}\n</issue>\n\n<diff>\n{shown}"
)


class Probe(NamedTuple):
    """What is asked, and the rest of the patch that is not shown."""

    prompt: str
    shown: str
    hidden: str


class Score(Record):
    """How much of the hidden half an answer has; shares between 0 and 1."""

    contained: float  # of the n-grams of added lines that are nowhere in the prompt
    prefix: float  # of the hidden half's characters, reproduced from its beginning without a fault
    prefix_characters: int


def probes(instance: Instance) -> tuple[Probe, Probe] | None:
    """The probe of an instance and its control: the same with every name of its own renamed.

    None when the hidden half has too little that is not in the prompt.
    """
    names = _names(instance)
    pair = (_cut(instance, {}), _cut(instance, names))
    if any(len(_grams(each)) < _FEWEST_GRAMS for each in pair):
        return None
    return pair


def score(probe: Probe, answer: str) -> Score:
    """Compare an answer with the hidden half, white space apart."""
    grams = _grams(probe)
    text = _plain(probe, answer)
    said = set(_ngrams(text))
    contained = sum(gram in said for gram in grams) / len(grams)
    hidden, given = _squeezed(probe.hidden), _squeezed(text)
    same = next(
        (at for at, (one, two) in enumerate(zip(hidden, given, strict=False)) if one != two),
        min(len(hidden), len(given)),
    )
    return Score(contained=contained, prefix=same / len(hidden), prefix_characters=same)


def _cut(instance: Instance, names: dict[str, str]) -> Probe:
    patch, issue = instance.patch, instance.problem_statement[:ISSUE_CHARACTERS]
    lines = patch.splitlines(keepends=True)
    added = [at for at, line in enumerate(lines) if _is_added(line)]
    middle = added[len(added) // 2] if added else len(lines)
    hidden = "".join(lines[middle:])[:HIDDEN_CHARACTERS]
    shown = "".join(lines[:middle])[-SHOWN_CHARACTERS:]
    issue, shown, hidden = (_renamed(text, names) for text in (issue, shown, hidden))
    repo = _renamed(instance.repo, names)
    return Probe(INSTRUCTION.format(repo=repo, issue=issue, shown=shown), shown, hidden)


def _is_added(line: str) -> bool:
    return line.startswith("+") and not line.startswith("+++ ")


def _names(instance: Instance) -> dict[str, str]:
    """A new name for each part of a name in the patch, of the same case; always the same ones."""
    found = sorted({name for name in _NAME.findall(instance.patch) if name not in _KEPT})
    parts = sorted({part.lower() for name in found for part in _PART.findall(name)} - _KEPT)
    start = int(hashlib.sha256(instance.instance_id.encode()).hexdigest(), 16)
    new = {part: _OTHER[(start + at) % len(_OTHER)] for at, part in enumerate(parts)}
    repeats = len(parts) // len(_OTHER)
    if repeats:  # rarely so many
        new = {
            part: f"{word}{at // len(_OTHER) or ''}" for at, (part, word) in enumerate(new.items())
        }
    return {name: _PART.sub(lambda part: _like(part[0], new), name) for name in found}


def _like(part: str, new: dict[str, str]) -> str:
    word = new.get(part.lower(), part.lower())
    if part.isupper():
        return word.upper()
    return word.capitalize() if part[0].isupper() else word


def _renamed(text: str, names: dict[str, str]) -> str:
    return _NAME.sub(lambda found: names.get(found[0], found[0]), text) if names else text


def _grams(probe: Probe) -> list[tuple[str, ...]]:
    """The distinct n-grams of the hidden added lines that the prompt has not, in order."""
    known = set(_ngrams(probe.prompt))
    added = "\n".join(line for line in probe.hidden.splitlines() if _is_added(line))
    return [gram for gram in dict.fromkeys(_ngrams(added)) if gram not in known]


def _ngrams(text: str) -> Iterator[tuple[str, ...]]:
    """The n-grams of each line, a diff's signs apart; short lines count whole."""
    for line in text.splitlines():
        words = _WORD.findall(line[1:] if line[:1] in ("+", "-") else line)
        size = min(N, len(words))
        if size >= _SHORTEST:
            yield from zip(*(words[at:] for at in range(size)), strict=False)


def _plain(probe: Probe, answer: str) -> str:
    """An answer without what models put around it: fences, and the shown half again."""
    text = re.sub(r"\A\s*```\w*\n", "", answer).removesuffix("```")
    last = probe.shown.rstrip("\n").rpartition("\n")[2]
    if len(last) > N and last in text:
        text = text.partition(last)[2].lstrip("\n")
    return text


def _squeezed(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip()
