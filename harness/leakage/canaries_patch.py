"""Comment lines in unified diffs: what they say changes, what they do does not."""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

_HUNK = re.compile(r"@@ -(\d+)(?:,(\d+))? \+(\d+)(?:,(\d+))? @@(.*)", re.S)
_PYTHON = (".py", ".pyi", ".pyx")
_TRIPLE = re.compile(r'"""|\'\'\'')
_FIRST_LINES = 2  # interpreter and encoding stand there
_SHORTEST = 8


@dataclass
class _Hunk:
    """A hunk of a diff: the place of its header and of its lines among the diff's lines."""

    path: str
    at: int
    new_start: int
    lines: list[int] = field(default_factory=list)


def add_comment(patch: str, text: str) -> str | None:
    """The diff with one more added line, a comment, in a Python file.

    None when it has no added line before which a comment surely is one.
    """
    lines = patch.split("\n")
    for hunk in _hunks(lines):
        if hunk.path.endswith(_PYTHON):
            at = _place(lines, hunk)
            if at is not None:
                return _insert(lines, hunk, at, text)
    return None


def add_preamble(patch: str, text: str) -> str:
    """The diff with a line before its first file."""
    return f"# {text}\n{patch}"


def _hunks(lines: list[str]) -> Iterator[_Hunk]:
    path, at = "", 0
    while at < len(lines):
        line = lines[at]
        if line.startswith("+++ "):
            path = line[4:].split("\t")[0].strip().removeprefix("b/")
        header = _HUNK.match(line)
        at += 1
        if not header:
            continue
        hunk = _Hunk(path, at - 1, int(header[3]))
        old, new = int(header[2] or 1), int(header[4] or 1)
        while at < len(lines) and (old > 0 or new > 0 or lines[at].startswith("\\")):
            kind = lines[at][:1].strip()
            old -= kind in ("-", "")
            new -= kind in ("+", "")
            hunk.lines.append(at)
            at += 1
        yield hunk


def _place(lines: list[str], hunk: _Hunk) -> int | None:
    """The added line before which a comment stands between two statements."""
    new = [at for at in hunk.lines if lines[at][:1].strip() in ("+", "")]
    texts = [lines[at][1:].rstrip("\r") for at in new]
    statements = [_is_statement(text.strip()) for text in texts]
    inside = _inside(texts)
    if sum(statements[n] for n in inside) * 2 > sum(statements) and _closes_first(texts):
        inside = set(range(len(texts))) - inside
    for n, at in enumerate(new):
        safe = n not in inside and hunk.new_start + n > _FIRST_LINES
        safe = safe and (n == 0 or not texts[n - 1].endswith("\\"))
        if lines[at][:1] == "+" and statements[n] and safe:
            return at
    return None


def _closes_first(texts: list[str]) -> bool:
    """Whether the first triple quotes may end a string: what opens one for a call ends so."""
    first = next(n for n, text in enumerate(texts) if _TRIPLE.search(text))
    before = texts[first - 1] if first else ""
    return not before.rstrip().endswith(("(", "[", ",", "=", "+"))


def _inside(texts: list[str]) -> set[int]:
    """The lines that begin in a triple-quoted string, if the first does not."""
    found, inside = set(), False
    for n, text in enumerate(texts):
        if inside:
            found.add(n)
        inside ^= len(_TRIPLE.findall(text)) % 2 == 1
    return found


def _is_statement(text: str) -> bool:
    """Whether a line is a whole Python statement, or the head of one, and hardly prose."""
    if len(text) < _SHORTEST or (" " not in text and "(" not in text):
        return False
    if text.startswith("@"):
        source = f"{text}\ndef f(): pass"
    elif text.startswith(("elif ", "else:")):
        source = f"if 0:\n pass\n{text}\n pass"
    elif text.startswith(("except", "finally")):
        source = f"try:\n pass\n{text}\n pass"
    else:
        source = f"{text}\n pass" if text.endswith(":") else text
    if re.match(r"(return|yield|await)\b", text):
        source = f"async def f():\n {source}"
    try:
        statement = ast.parse(source).body[-1]
    except (IndexError, SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    if isinstance(statement, ast.Expr):
        return isinstance(statement.value, ast.Call)
    return not isinstance(statement, ast.AnnAssign) or statement.value is not None


def _insert(lines: list[str], hunk: _Hunk, at: int, text: str) -> str:
    added = lines[at]
    indent = added[1 : len(added) - len(added[1:].lstrip())]
    out = list(lines)
    out[hunk.at] = _longer(lines[hunk.at], start=0, count=1)
    later = [each for each in _hunks(lines) if each.at > hunk.at]
    for each in later:
        if each.path != hunk.path:
            break
        out[each.at] = _longer(lines[each.at], start=1, count=0)
    out.insert(at, f"+{indent}# {text}" + "\r" * added.endswith("\r"))
    return "\n".join(out)


def _longer(header: str, *, start: int, count: int) -> str:
    found = _HUNK.match(header)
    assert found is not None
    old = found[1] + (f",{found[2]}" if found[2] else "")
    new = f"{int(found[3]) + start},{int(found[4] or 1) + count}"
    return f"@@ -{old} +{new} @@{found[5]}"
