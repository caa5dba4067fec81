"""The edits that a shell command makes, read from its text and never run."""

import posixpath
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache

from harness.datagen.edits_python import read_program
from harness.leakage.conduct_shell import Simple, simple_commands
from harness.leakage.filter_diff import MalformedDiffError, touched_paths

_HEREDOC = re.compile(
    r"<<-?[ \t]*(?P<quote>['\"]?)(?P<tag>\w+)(?P=quote)(?P<rest>[^\n]*)\n"
    r"(?P<body>.*?)(?:\n[ \t]*(?P=tag)[ \t]*(?=\n|$)|\Z)",
    re.S,
)
_BODY = re.compile(r"__stdin_(\d+)__")
_REDIRECTION = re.compile(r"[12&]?>{1,2}\|?(?P<path>[\w./+~@=-]*)")
_SHELLS = frozenset({"bash", "sh", "zsh", "dash"})
_SED_VALUES = frozenset({"-e", "-f", "-l", "-E", "--expression", "--file"})
_MOST = 200_000
_DEPTH = 3


class Kind(StrEnum):
    """How a file is changed."""

    REPLACE = "replace"  # old text by new text
    INSERT = "insert"  # new text somewhere
    WRITE = "write"  # the whole file
    PATCH = "patch"  # a unified diff
    PROGRAM = "program"  # by sed, perl or a Python program: content is not known exactly
    REMOVE = "remove"
    UNDO = "undo"  # the last edit of the file
    REVERT = "revert"  # the file as at the base commit; with no path all of them


@dataclass(frozen=True)
class Operation:
    """One change of one file. `path` is absolute; of a revert it may be empty: everything.

    `old` and `new` are known for replacements, `new` is the content or diff otherwise, `texts` are
    what a program's text has in it.
    """

    kind: Kind
    path: str
    old: str = ""
    new: str = ""
    texts: tuple[str, ...] = ()


@dataclass
class Shell:
    """A shell's folder and the scratch files that its commands wrote whole."""

    cwd: str
    files: dict[str, str] = field(default_factory=dict)

    def run(self, command: str, depth: int = 0) -> list[Operation]:
        """The edits of a command, in order. Bounded in size and depth."""
        if depth == _DEPTH:
            return []
        bodies: list[str] = []

        def cut(found: re.Match[str]) -> str:
            bodies.append(found["body"])
            return f" __stdin_{len(bodies) - 1}__ {found['rest']}\n"

        text = _HEREDOC.sub(cut, command[:_MOST])
        operations: list[Operation] = []
        for simple in _parsed(text):
            made = self._simple(simple, bodies, depth)
            self.files |= {one.path: one.new for one in made if one.kind is Kind.WRITE}
            operations += made
        return operations

    def _simple(self, simple: Simple, bodies: Sequence[str], depth: int) -> list[Operation]:
        body = "\n".join(bodies[int(n)] for word in simple.words for n in _BODY.findall(word))
        words, targets = self._redirections(
            [word for word in simple.words if not _BODY.fullmatch(word)]
        )
        name = words[0].rpartition("/")[2] if words else ""
        arguments = words[1:]
        plain = [word for word in arguments if not word.startswith("-")]
        written = [self._write(path, append, name, arguments, body) for path, append in targets]
        if name == "cd":
            self.cwd = self._path(plain[0]) if plain else self.cwd
        elif name in _SHELLS and (body or plain):
            script = body or self.files.get(self._path(plain[0]), "")
            return [*self.run(script, depth + 1), *written]
        elif simple.program or name.startswith(("python", "pypy")):
            source = simple.program or body
            source = source or (self.files.get(self._path(plain[0]), "") if plain else "")
            return [*self._python(source), *written]
        else:
            written += self._tool(name, arguments, plain, body)
        return written

    def _tool(
        self, name: str, arguments: Sequence[str], plain: Sequence[str], body: str
    ) -> Iterator[Operation]:
        match name:
            case "tee":
                how = Kind.INSERT if {"-a", "--append"} & set(arguments) else Kind.WRITE
                yield from (Operation(how, self._path(path), new=body) for path in plain)
            case "sed" | "perl" if any(re.match(r"-(-in-place|\w*i)", one) for one in arguments):
                program = "\n".join(arguments)
                for path in _programmed(name, arguments):
                    yield Operation(Kind.PROGRAM, self._path(path), texts=(program,))
            case "cp" | "install" if len(plain) >= 2:
                known = self.files.get(self._path(plain[0]), "")
                target = self._path(plain[-1])
                yield Operation(Kind.WRITE if known else Kind.PROGRAM, target, new=known)
            case "mv" if len(plain) >= 2:
                yield Operation(Kind.REMOVE, self._path(plain[0]))
                yield Operation(Kind.PROGRAM, self._path(plain[-1]))
            case "rm" | "unlink":
                yield from (Operation(Kind.REMOVE, self._path(path)) for path in plain)
            case "touch" | "truncate":
                yield from (Operation(Kind.PROGRAM, self._path(path)) for path in plain)
            case "patch":
                yield from self._patch(body or self._given(arguments, plain), self.cwd)
            case "git" if plain:
                yield from self._git(plain[0], plain[1:], arguments, body)

    def _git(
        self, verb: str, plain: Sequence[str], arguments: Sequence[str], body: str
    ) -> Iterator[Operation]:
        if verb == "apply":
            if not {"--check", "--stat", "-R", "--reverse"} & set(arguments):
                yield from self._patch(body or self._given(arguments, plain), self.cwd)
        elif verb == "rm":
            yield from (Operation(Kind.REMOVE, self._path(path)) for path in plain)
        elif verb == "mv" and len(plain) == 2:
            yield Operation(Kind.REMOVE, self._path(plain[0]))
            yield Operation(Kind.PROGRAM, self._path(plain[1]))
        elif verb in ("checkout", "restore"):
            paths = arguments[arguments.index("--") + 1 :] if "--" in arguments else plain
            for path in paths:
                whole = path in (".", ":/", "*")
                yield Operation(Kind.REVERT, "" if whole else self._path(path))
        elif (verb == "reset" and "--hard" in arguments) or (
            verb == "stash" and not set(plain) & {"list", "show", "pop", "apply"}
        ):
            yield Operation(Kind.REVERT, "")

    def _write(
        self, path: str, append: bool, name: str, arguments: Sequence[str], body: str
    ) -> Operation:
        content = body
        if not content and name in ("echo", "printf"):
            content = " ".join(word for word in arguments if word not in ("-n", "-e")) + "\n"
        elif content:
            content += "\n"
        kind = Kind.INSERT if append else Kind.WRITE
        return Operation(kind if content else Kind.PROGRAM, self._path(path), new=content)

    def _patch(self, diff: str, root: str) -> Iterator[Operation]:
        diff = diff if diff.endswith("\n") or not diff else f"{diff}\n"
        try:
            paths = touched_paths(diff).paths.values()
        except MalformedDiffError:
            return
        for path in paths:
            yield Operation(Kind.PATCH, posixpath.normpath(posixpath.join(root, path)), new=diff)

    def _python(self, source: str) -> Iterator[Operation]:
        program = read_program(source)
        for write in program.writes:
            path = self._path(write.path)
            if write.removes:
                yield Operation(Kind.REMOVE, path)
            elif program.replacements:
                for old, new in program.replacements:
                    yield Operation(Kind.REPLACE, path, old, new, program.texts)
            else:
                yield Operation(Kind.PROGRAM, path, texts=program.texts)

    def _redirections(self, words: Sequence[str]) -> tuple[list[str], list[tuple[str, bool]]]:
        """The words that are left, and each target with whether it is appended to."""
        left: list[str] = []
        targets: list[tuple[str, bool]] = []
        waiting: bool | None = None
        for word in words:
            if waiting is not None:
                targets.append((word, waiting))
                waiting = None
            elif found := _REDIRECTION.fullmatch(word):
                append = ">>" in word
                if found["path"]:
                    targets.append((found["path"], append))
                else:
                    waiting = append
            else:
                left.append(word)
        return left, [(path, append) for path, append in targets if not path.startswith("/dev/")]

    def _given(self, arguments: Sequence[str], plain: Sequence[str]) -> str:
        """The content of the first scratch file that is named, as `-i x` or `< x` may do."""
        names = [*plain, *(word.removeprefix("<") for word in arguments if word.startswith("<"))]
        found = (self.files.get(self._path(name.removeprefix("<"))) for name in names if name)
        return next((text for text in found if text), "")

    def _path(self, path: str) -> str:
        return posixpath.normpath(posixpath.join(self.cwd, path))


@lru_cache(maxsize=64)
def _parsed(text: str) -> tuple[Simple, ...]:
    """A command is read for its call and again for its event."""
    return tuple(simple_commands(text))


def _programmed(name: str, arguments: Sequence[str]) -> Iterator[str]:
    """The files that sed or perl change in place: what is neither an option nor the program."""
    program_given = False
    takes_value = False
    for word in arguments:
        if takes_value:
            takes_value = False
        elif word in _SED_VALUES - {"-E"} or (name == "perl" and re.fullmatch(r"-\w*e", word)):
            takes_value = program_given = True
        elif word.startswith("-") or not word:
            continue
        elif program_given:
            yield word
        else:
            program_given = True
