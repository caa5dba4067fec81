"""What an issue's text mentions: traceback frames, paths, imports, names, words.

Every pattern takes time linear in the text, and both text and mentions have a most.
"""

import re
from dataclasses import dataclass, field

MAX_CHARACTERS = 100_000
MAX_MENTIONS = 3000
_MAX_PATHS = 300
_MAX_NAME = 200

_COMMENT = re.compile(r"<!--.*?(?:-->|\Z)", re.DOTALL)
_FRAME = re.compile(r'File "([^"\n]{1,500})", line \d{1,7}(?:, in ([^\n]{1,200}))?')
_PROMPT = r"(?:>>> ?|In \[\d{1,6}\]: ?)?[ \t]{0,80}"
_FROM = re.compile(_PROMPT + r"from ([\w.]+) import ([^#\n]+)")
_IMPORT = re.compile(_PROMPT + r"import ([\w., ]+)")
_CODE_LINE = re.compile(r" ?(?:>>>|\.\.\. |In \[|    |\t)")
_FENCE = re.compile(r" {0,3}(?:```|~~~)")
_INLINE = re.compile(r"`([^`\n]{1,200})`")
_PATH = re.compile(r"[\w.\-/\\]+")
_NAME = re.compile(r"[^\W\d]\w*(?:\.[^\W\d]\w*)*")
_SHAPED = re.compile(r"[A-Z][a-z0-9]+[A-Z]|[a-z0-9][A-Z]|[^_]_[^_]")
_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
_COMMON = {
    *("add", "all", "also", "and", "any", "are", "but", "can", "class", "def", "does", "for"),
    *("from", "get", "has", "have", "import", "its", "none", "not", "print", "return", "self"),
    *("set", "should", "that", "the", "then", "there", "they", "this", "true", "false", "use"),
    *("was", "what", "when", "which", "will", "with", "would", "you"),
}


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame of a traceback, as written; the function may be empty."""

    path: str
    function: str


@dataclass(slots=True)
class Mentions:
    """What a text mentions, in order of appearance.

    `names` (dotted or not) and `words` (parts of names and of prose, lower case) with how much
    their use says; `imports`: a module with a name of it, or with none.
    """

    frames: list[Frame] = field(default_factory=list)
    paths: dict[str, None] = field(default_factory=dict)
    imports: dict[tuple[str, str], None] = field(default_factory=dict)
    names: dict[str, float] = field(default_factory=dict)
    words: dict[str, float] = field(default_factory=dict)
    cut: bool = False


def mentions(text: str) -> Mentions:
    """Read an issue, whose first line is its title."""
    found = Mentions(cut=len(text) > MAX_CHARACTERS)
    text = _COMMENT.sub(" ", text[:MAX_CHARACTERS])
    for path, function in _FRAME.findall(text)[-_MAX_PATHS:]:
        found.frames.append(Frame(path.replace("\\", "/"), function.strip()))
    fenced = False
    for number, line in enumerate(text.splitlines()):
        if _FENCE.match(line):
            fenced = not fenced
            continue
        code = fenced or _CODE_LINE.match(line) is not None
        _read_paths(line, found)
        _read_imports(line, found)
        _read_names(line, found, code=code, title=number == 0)
        if max(len(found.names), len(found.imports)) > MAX_MENTIONS:
            found.cut = True
            break
    return found


def words_of(name: str) -> list[str]:
    """The words that a name is made of, in lower case; short and common ones left out."""
    words = (word.lower() for word in _WORD.findall(name))
    return [word for word in words if len(word) > 2 and word not in _COMMON]


def _read_paths(line: str, found: Mentions) -> None:
    for match in _PATH.finditer(line):
        path = match[0].strip(".-").replace("\\", "/")
        if path.endswith(".py") and len(path) <= _MAX_NAME and len(found.paths) < _MAX_PATHS:
            found.paths[path] = None


def _read_imports(line: str, found: Mentions) -> None:
    if match := _FROM.match(line):
        module, names = match[1], match[2].strip("()\\ ").split(",")
    elif match := _IMPORT.match(line):
        module, names = "", match[1].split(",")
    else:
        return
    for name in names[:50]:
        bare = name.split(" as ")[0].strip()
        found.imports[(module, bare) if module else (bare, "")] = None


def _read_names(line: str, found: Mentions, *, code: bool, title: bool) -> None:
    inline = {match[0] for quoted in _INLINE.findall(line) for match in _NAME.finditer(quoted)}
    for match in _NAME.finditer(line):
        name = match[0]
        if len(name) > _MAX_NAME:
            continue
        called = line.startswith("(", match.end())
        weight = 1.0 if name in inline else _weight(name, code=code, called=called)
        _raise(found.names, name, 2 * weight if title else weight)
        for word in words_of(name):
            _raise(found.words, word, 2.0 if title else 0.5 if code else 1.0)


def _weight(name: str, *, code: bool, called: bool) -> float:
    """How likely a word is meant as the name of a definition."""
    shaped = "." in name or _SHAPED.search(name) is not None
    if code:
        return 0.6 if shaped or called else 0.3
    return 1.0 if shaped else 0.8 if called else 0.15


def _raise(table: dict[str, float], key: str, value: float) -> None:
    table[key] = max(table.get(key, 0.0), value)
