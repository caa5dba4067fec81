"""Rows of training: made-up repairs of real functions, as texts with weights."""

import random
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from harness.records.repair.text import END, first_state, name_choices, place_choice
from trainers.small.corpus import Broken, Function
from trainers.small.recipe import StageKind

_MOST_FUNCTIONS = 4
_NAMED = 0.7  # of reports name the broken function
_READ = 0.3  # weight of a token of code
_OTHERS = 0.3  # weight of a token that stood at a place that is not broken
_MOST_PLACES = 5
_EXCEPTIONS = (
    "AssertionError",
    "AssertionError",
    "AttributeError",
    "Failed",
    "IndexError",
    "KeyError",
    "NameError",
    "OverflowError",
    "RecursionError",
    "Timeout",
    "TypeError",
    "UnboundLocalError",
    "ValueError",
    "ZeroDivisionError",
)
_MESSAGES = (
    "",
    "'NoneType' object has no attribute 'get'",
    "'int' object is not iterable",
    "'str' object is not callable",
    "DID NOT RAISE <class 'ValueError'>",
    'can only concatenate str (not "int") to str',
    "cannot access local variable 'x' where it is not associated",
    "expected str, bytes or os.PathLike object, not NoneType",
    "integer division or modulo by zero",
    "invalid literal for int() with base 10: ''",
    "list index out of range",
    "not enough values to unpack (expected 2, got 1)",
    "object of type 'generator' has no len()",
    "string index out of range",
    "unsupported operand type(s) for +: 'NoneType' and 'int'",
)


class Piece(NamedTuple):
    """A text and the weight of its tokens in the loss."""

    text: str
    weight: float


class Episode(NamedTuple):
    """A repair: the state and action of each of its two turns."""

    functions: tuple[Function, ...]
    gold: int
    broken: Broken
    first_state: str
    first_action: str


def sample_episode(
    files: Sequence[tuple[Function, ...]], weights: Sequence[float], draw: random.Random
) -> Episode:
    """A broken function, up to three others of its file, and a report made up of names."""
    while True:
        file = draw.choices(files, weights)[0]
        count = min(_MOST_FUNCTIONS, len(file))
        functions = tuple(file[i] for i in sorted(draw.sample(range(len(file)), count)))
        gold = draw.randrange(count)
        if count < 2 or not functions[gold].broken:
            continue
        called = _called(file, functions, gold, files, weights, draw)
        message = draw.choice(_MESSAGES)
        try:
            choices = name_choices([one.name for one in functions])
            state = first_state(
                draw.choice(_EXCEPTIONS), message, called, [one.name for one in functions]
            )
        except ValueError:  # names that cannot be told apart
            continue
        broken = draw.choice(functions[gold].broken)
        return Episode(functions, gold, broken, state, choices[gold])


def row_pieces(episode: Episode, kind: StageKind, draw: random.Random) -> list[Piece]:
    """One row of a stage. Half of those that show a function have no first turn."""
    first = [Piece(episode.first_state, 0), Piece(episode.first_action + END, 1)]
    if kind is StageKind.NAMES:
        return first
    if draw.random() < 0.5:
        first = []
    action, places = episode.broken.action, episode.functions[episode.gold].places
    repairs = kind is StageKind.REPAIRS
    pieces = [*first, Piece(episode.broken.state, 0 if repairs else _READ)]
    number = int(action[1 : action.index(">")])
    others = [place for place in range(len(places)) if place != number]
    draw.shuffle(others)
    del others[_MOST_PLACES - 1 :]
    if repairs:
        pieces.append(Piece(action + END, 1))
    else:
        others.insert(draw.randrange(len(others) + 1), number)
    for place in others:
        stood = place_choice(place, places[place])
        split = stood.index(">") + 1
        weight = _OTHERS if repairs else 1
        pieces += [Piece(stood[:split], 0), Piece(stood[split:], weight), Piece(END, 0)]
    return pieces


def batch_rows(
    files: Sequence[tuple[Function, ...]], kind: StageKind, count: int, seed: str
) -> Iterator[list[Piece]]:
    """Rows that depend on the seed alone."""
    draw = random.Random(seed)  # noqa: S311
    weights = [float(len(file)) for file in files]
    for _ in range(count):
        yield row_pieces(sample_episode(files, weights, draw), kind, draw)


def _called(
    file: Sequence[Function],
    functions: Sequence[Function],
    gold: int,
    files: Sequence[tuple[Function, ...]],
    weights: Sequence[float],
    draw: random.Random,
) -> list[str]:
    """One to three names that a report calls; most, but not all, have the broken function's."""
    pools = (functions, file, draw.choices(files, weights)[0])
    names = [
        draw.choice(draw.choices(pools, (0.3, 0.35, 0.35))[0]).name
        for _ in range(draw.choice((1, 1, 2, 2, 3)))
    ]
    if draw.random() < _NAMED:
        names[0 if draw.random() < 0.5 else draw.randrange(len(names))] = functions[gold].name
    return names
