"""The text of the repair task's states and actions, as models are trained on it and asked in it.

    <issue>TypeError in loads, sign: bad operand<funcs> loads, dump, sign, get value<act>
     get value<end>
    <code>def get_value(x):
    if x <=<0> y and<1> z:<act>
    <0> <<end>

(one text without line breaks between its parts). The first action is the name of a function, the
second a numbered place of it and what is to stand there. Every name is written as its words with a
space before each, so that it is the same tokens wherever it stands.

Changing anything here makes models that were trained before useless.
"""

import re
from collections import Counter
from collections.abc import Sequence

from harness.records.repair.functions import EditableFunction

PAD, END_OF_TEXT, END = "<pad>", "<eos>", "<end>"
ISSUE, FUNCTIONS, ACT, CODE, PI = "<issue>", "<funcs>", "<act>", "<code>", "<pi>"
CONTROL_TOKENS = (PAD, END_OF_TEXT, ISSUE, FUNCTIONS, ACT, CODE, PI, END)
PLACE_TOKENS = tuple(f"<{number}>" for number in range(24))
CHAT_TEMPLATE = (
    "{% for message in messages %}{{ message['content'] }}"
    "{% if message['role'] == 'assistant' %}" + END + "{% endif %}{% endfor %}"
)

MOST_CALLED = 3
MOST_MESSAGE = 60
_WORDS = re.compile(r"[A-Z]?[a-z0-9]+|[A-Z]+")
_RESERVED = re.compile(r"<(?=(?:pad|eos|issue|funcs|act|code|pi|end|\d+)>)")


def short_name(name: str) -> str:
    """A qualified name's last part."""
    return name.rpartition(".")[2]


def words(name: str) -> str:
    """A name as lower-case words with a space before each."""
    found = _WORDS.findall(name)
    return "".join(f" {word.lower()}" for word in found) or f" {name}"


def plain(text: str) -> str:
    """A text in which nothing is taken for a token of this format."""
    return _RESERVED.sub("< ", text)


def name_choices(functions: Sequence[str]) -> tuple[str, ...]:
    """The first action for each function; those of one short name get all of their words.

    Raises ValueError where two cannot be told apart.
    """
    named = [words(short_name(name)) for name in functions]
    counts = Counter(named)
    told = [
        one if counts[one] == 1 else words(name) for name, one in zip(functions, named, strict=True)
    ]
    if len(set(told)) != len(told):
        raise ValueError(f"functions that have the same words: {', '.join(functions)}")
    return tuple(told)


def first_state(
    exception: str, message: str, called: Sequence[str], functions: Sequence[str]
) -> str:
    """What a failing test reported, and the names of the functions to choose from.

    exception: the type's name. message: its first line. called: functions that the report calls.
    """
    names = dict.fromkeys(words(short_name(name)) for name in called)
    issue = plain(exception)
    if names:
        issue += " in" + ",".join(list(names)[:MOST_CALLED])
    if message and exception != "AssertionError":
        issue += ": " + " ".join(plain(message).split())[:MOST_MESSAGE]
    return f"{ISSUE}{issue}{FUNCTIONS}{','.join(name_choices(functions))}{ACT}"


def second_state(function: EditableFunction) -> str:
    """The lines of a function that have places, each place followed by its number."""
    data = function.text.encode()
    shown, last = "", 0
    for number, place in enumerate(function.shown):
        shown += plain(data[last : place.end].decode()) + PLACE_TOKENS[number]
        last = place.end
    shown += plain(data[last:].decode())
    kept = [
        line.strip()
        for line in shown.split("\n")
        if line.startswith("def ") or any(token in line for token in PLACE_TOKENS)
    ]
    return f"{CODE}{chr(10).join(kept)}{ACT}"


def place_choice(number: int, text: str) -> str:
    """The second action that puts a text at a place."""
    return f"{PLACE_TOKENS[number]} {text}"


def edit_choices(function: EditableFunction) -> tuple[str, ...]:
    """Every second action that a function allows, by place."""
    return tuple(
        place_choice(number, choice)
        for number, place in enumerate(function.shown)
        for choice in place.choices
    )


def oracle_text(function: str, number: int, text: str) -> str:
    """The PI that says the edit: function, place and text."""
    name = words(short_name(function))
    return f"patch{name}{place_choice(number, text)}\nnext{name}"


def reach_text(functions: Sequence[str]) -> str:
    """The PI that says which of the functions failing tests reach, likeliest first."""
    return "tests reach" + ",".join(words(short_name(name)) for name in functions)
