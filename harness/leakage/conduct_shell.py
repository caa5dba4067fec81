"""A shell command taken apart, as far as rules need: simple commands and programs given to them."""

import re
import shlex
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import islice, takewhile
from typing import NamedTuple

_HEREDOC = re.compile(r"<<-?[ \t]*(?P<quote>['\"]?)(?P<tag>\w{1,64})(?P=quote)")
_DOCUMENT = re.compile(r"\0(\d+)\0")  # stands for a here-document in the text
_SUBSHELL = re.compile(r"\$\(([^()]*)\)|`([^`]*)`")
_COMMENT = re.compile(r"(?m)(?:^|(?<=\s))#.*$")
_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*=.*", re.S)
_ENDS = frozenset({";", "&&", "||", "|", "&", "|&", "(", ")", ";;", "{", "}", "\n"})
_WORDS = frozenset({"if", "then", "else", "elif", "do", "while", "until", "!", "time"})
_WRAPPERS = frozenset({"sudo", "nohup", "exec", "command", "env", "stdbuf", "xargs", "setsid"})
_SHELLS = frozenset({"bash", "sh", "zsh", "dash"})
_PYTHON = re.compile(r"(?:.*/)?(?:python[\d.]*|pypy[\d.]*|ipython)")
_MOST = 100_000
_MOST_COMMANDS = 400
_MOST_WORDS = 200
_MOST_PARTS = 40  # here-documents, and substitutions
_DEPTH = 4


class Simple(NamedTuple):
    """One simple command: its words, the program that it interprets (`python -c`, a
    here-document) if it is given one, and the here-document itself."""

    words: tuple[str, ...]
    program: str = ""
    document: str = ""

    @property
    def name(self) -> str:
        """The program that runs, without its folder."""
        return self.words[0].rpartition("/")[2]

    @property
    def written(self) -> str:
        """The file that its output goes to, if any."""
        for at, word in enumerate(self.words):
            if word in (">", ">>") and at + 1 < len(self.words):
                return self.words[at + 1]
            if re.fullmatch(r">>?[^>&].*", word):
                return word.lstrip(">")
        return self.words[-1] if self.name == "tee" and len(self.words) > 1 else ""

    @property
    def is_python(self) -> bool:
        """Whether Python runs."""
        return bool(_PYTHON.fullmatch(self.words[0]))


def simple_commands(text: str) -> list[Simple]:
    """The simple commands of a shell command, those in substitutions and `bash -c` too.

    What a here-document writes to a file is text, not a command. Bounded in depth and size.
    """
    documents: list[str] = []
    text = _without_documents(text[:_MOST].replace("\0", "").replace("\\\n", " "), documents)
    return _commands(text, documents, 0)


def _commands(text: str, documents: list[str], depth: int) -> list[Simple]:
    if depth == _DEPTH:
        return []
    found: list[Simple] = []
    for inner in islice(_SUBSHELL.finditer(text), _MOST_PARTS):
        found += _commands(inner[1] or inner[2] or "", documents, depth + 1)
    for words in islice(_split(text), _MOST_COMMANDS):
        found += _interpret(words[:_MOST_WORDS], documents, depth)
    return found[:_MOST_COMMANDS]


def _without_documents(text: str, documents: list[str]) -> str:
    """The text with a mark in place of each here-document, which is added to `documents`."""
    lines, out = iter(text.split("\n")), []
    for line in lines:
        tags: list[str] = []

        def mark(found: re.Match[str], tags: list[str] = tags) -> str:
            if len(documents) + len(tags) == _MOST_PARTS:
                return found[0]
            tags.append(found["tag"])
            return f" \0{len(documents) + len(tags) - 1}\0 "

        out.append(_HEREDOC.sub(mark, line))
        for tag in tags:
            body = takewhile(partial(_goes_on, tag), lines)
            documents.append("\n".join(body))
    return "\n".join(out)


def _split(text: str) -> Iterator[list[str]]:
    words: list[str] = []
    for token in _tokens(text):
        if token in _ENDS:
            if words:
                yield words
            words = []
        elif words or (token not in _WORDS and not _ASSIGNMENT.fullmatch(token)):
            words.append(token)
    if words:
        yield words


def _tokens(text: str) -> list[str]:
    try:
        return _lex(_newlines(text))
    except ValueError:  # a quote that does not end: as good as can be
        return re.findall(r"[^\s;&|()]+|[;&|()]+", _COMMENT.sub("", text).replace("\n", " ; "))


def _lex(text: str) -> list[str]:
    lexer = shlex.shlex(text, posix=True, punctuation_chars=";&|()")
    lexer.whitespace_split = True
    lexer.commenters = ""
    return [part for token in lexer for part in _parts(token)]


def _parts(token: str) -> list[str]:
    """`);` is two ends of a command for a shell, one token for the lexer."""
    if len(token) > 1 and set(token) <= set(";&|()") and token not in _ENDS:
        return [";"]
    return [token]


def _newlines(text: str) -> str:
    """The text with line ends outside quotes as ends of commands, and without comments."""
    out, quote, escaped, comment = [], "", False, False
    for at, character in enumerate(text):
        if comment:
            comment = character != "\n"
            if comment:
                continue
        if escaped:
            escaped = False
        elif character == "\\" and quote != "'":
            escaped = True
        elif quote:
            quote = "" if character == quote else quote
        elif character in "'\"":
            quote = character
        elif character == "\n":
            out.append(" ; ")
            continue
        elif character == "#" and (at == 0 or text[at - 1].isspace()):
            comment = True
            continue
        out.append(character)
    return "".join(out)


def _goes_on(tag: str, line: str) -> bool:
    return line.strip() != tag


def _interpret(words: Sequence[str], documents: list[str], depth: int) -> Iterator[Simple]:
    marks = {word: _DOCUMENT.fullmatch(word) for word in words}
    given = [word for word in words if not marks[word]]
    body = "\n".join(documents[int(found[1])] for word in words if (found := marks[word]))
    given = _unwrapped(given)
    if not given:
        return
    command = Simple(tuple(given), document=body)
    inline = _option(given, "-c")
    if command.name in _SHELLS:
        if inline or body:
            yield from _commands(inline or body, documents, depth + 1)
    elif command.is_python:
        script = "-" in given or len(given) == 1
        command = command._replace(program=inline or (body if body and script else ""))
    yield command


def _unwrapped(words: list[str]) -> list[str]:
    while words:
        name = words[0].rpartition("/")[2]
        if name == "timeout":
            words = words[1:]
            while words and (words[0].startswith("-") or re.fullmatch(r"[\d.]+[smhd]?", words[0])):
                words = words[1:]
        elif name in _WRAPPERS:
            words = words[1:]
            while words and (words[0].startswith("-") or _ASSIGNMENT.fullmatch(words[0])):
                words = words[1:]
        elif _ASSIGNMENT.fullmatch(words[0]):
            words = words[1:]
        else:
            break
    return words


def _option(words: Sequence[str], name: str) -> str:
    """The value after an option; `-lc` counts as `-c` for shells."""
    for at, word in enumerate(words[1:-1], start=1):
        if word == name or re.fullmatch(r"-[a-z]*c", word):
            return words[at + 1]
    return ""
