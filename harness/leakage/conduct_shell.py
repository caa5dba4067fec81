"""A shell command taken apart, as far as rules need: simple commands and programs given to them."""

import re
import shlex
from collections.abc import Iterator, Sequence
from typing import NamedTuple

_HEREDOC = re.compile(
    r"<<-?[ \t]*(?P<quote>['\"]?)(?P<tag>\w+)(?P=quote)(?P<rest>[^\n]*)\n"
    r"(?P<body>.*?)(?:\n[ \t]*(?P=tag)[ \t]*(?=\n|$)|\Z)",
    re.S,
)
_SUBSHELL = re.compile(r"\$\(([^()]*)\)|`([^`]*)`")
_COMMENT = re.compile(r"(?m)(?:^|(?<=\s))#.*$")
_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*=.*", re.S)
_ENDS = frozenset({";", "&&", "||", "|", "&", "|&", "(", ")", ";;", "{", "}", "\n"})
_WORDS = frozenset({"if", "then", "else", "elif", "do", "while", "until", "!", "time"})
_WRAPPERS = frozenset({"sudo", "nohup", "exec", "command", "env", "stdbuf", "xargs", "setsid"})
_SHELLS = frozenset({"bash", "sh", "zsh", "dash"})
_PYTHON = re.compile(r"(?:.*/)?(?:python[\d.]*|pypy[\d.]*|ipython)")
_MOST = 100_000
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


def simple_commands(text: str, depth: int = 0) -> list[Simple]:
    """The simple commands of a shell command, those in substitutions and `bash -c` too.

    What a here-document writes to a file is text, not a command. Bounded in depth and size.
    """
    if depth == _DEPTH:
        return []
    text = text[:_MOST].replace("\\\n", " ")
    bodies: list[str] = []

    def cut(found: re.Match[str]) -> str:
        bodies.append(found["body"])
        return f" __heredoc_{len(bodies) - 1}__ {found['rest']}\n"

    text = _HEREDOC.sub(cut, text)
    found: list[Simple] = []
    for inner in _SUBSHELL.finditer(text):
        found += simple_commands(inner[1] or inner[2] or "", depth + 1)
    for words in _split(text):
        found += _interpret(words, bodies, depth)
    return found


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


def _interpret(words: Sequence[str], bodies: Sequence[str], depth: int) -> Iterator[Simple]:
    given = [word for word in words if not re.fullmatch(r"__heredoc_\d+__", word)]
    body = "\n".join(
        bodies[int(word.removeprefix("__heredoc_").removesuffix("__"))]
        for word in words
        if word not in given
    )
    given = _unwrapped(given)
    if not given:
        return
    command = Simple(tuple(given), document=body)
    inline = _option(given, "-c")
    if command.name in _SHELLS:
        if inline or body:
            yield from simple_commands(inline or body, depth + 1)
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
