"""The modules that an issue is about, ranked, each with what in the text says so."""

import math
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from pi_extractors.call_graph.graph import SymbolId
from pi_extractors.call_graph.issue_text import Mentions, mentions, words_of

MAX_MODULES = 20
_MAX_FILES = 12  # a name that more files define says nothing
_MAX_SAME, _MAX_SAME_FILES = 200, 1000  # definitions and files of one name that are looked at
_SIDE = re.compile(
    r"(?:^|/)(?:docs?|examples?|bench(?:marks)?|bin|tools|scripts|extras)/|(?:^|/)setup\.py$"
)

# Points for one piece of evidence; those of a name are shared by the files that it may mean.
_PATH, _FRAME, _MODULE, _NAME, _STEM, _IMPORT = 8.0, 6.0, 5.0, 3.0, 1.5, 1.0
_WORDS = 10.0  # of the module that shares most
_NAMED = 1.0  # of a piece of evidence that is more than a chance
_UP = 0.7  # a frame's points, of those of the one that it calls


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a text says about a module; `kind` as `traceback`, `path`, `name`, `word`."""

    kind: str
    said: str
    points: float


@dataclass(frozen=True, slots=True)
class IssueModule:
    """A module with its evidence, the strongest first."""

    path: str
    points: float
    evidence: tuple[Evidence, ...]


@dataclass(frozen=True, slots=True)
class IssueModules:
    """Modules, the likeliest first; points of definitions that the text names; of its words.

    `fallback` says how the modules were chosen when the text names none; `cut`, that a part of a
    very long text was not read.
    """

    modules: tuple[IssueModule, ...]
    symbols: Mapping[SymbolId, float]
    words: Mapping[str, float]
    fallback: str | None = None
    cut: bool = False


def issue_modules(text: str, symbols: Iterable[SymbolId], tests: Collection[str]) -> IssueModules:
    """Rank the modules of a repository, given the ids of all its definitions, by an issue's text.

    Modules that are `tests` are left out.
    """
    said = mentions(text)
    board = _Board(symbols, tests)
    board.frames(said)
    board.paths(said)
    board.imports(said)
    board.names(said)
    named = any(points >= _NAMED for mine in board.points.values() for points in mine.values())
    words = board.words(said)
    fallback = None
    if not board.points:
        board.sizes()
        fallback = "the issue names nothing of the repository: the modules with most definitions"
    elif not named:
        fallback = "the issue names no module or definition: modules whose names share its words"
    return IssueModules(board.ranking(), board.named, words, fallback, said.cut)


class _Board:
    """Points by file and evidence."""

    def __init__(self, symbols: Iterable[SymbolId], tests: Collection[str]) -> None:
        self.points: dict[str, dict[tuple[str, str], float]] = {}
        self.named: dict[SymbolId, float] = {}
        self.defined: dict[str, list[SymbolId]] = {}  # by own name
        self.sized: dict[str, int] = {}  # definitions by file
        for symbol in symbols:
            path, _, qualname = symbol.partition("::")
            if path not in tests:
                self.sized[path] = self.sized.get(path, 0) + 1
                if qualname:
                    self.defined.setdefault(qualname.rpartition(".")[2], []).append(symbol)
        self.by_name: dict[str, list[str]] = {}
        self.by_stem: dict[str, list[str]] = {}
        for path in self.sized:
            self.by_name.setdefault(path.rpartition("/")[2], []).append(path)
            self.by_stem.setdefault(_module(path).rpartition("/")[2], []).append(path)

    def add(self, path: str, kind: str, said: str, points: float) -> None:
        """Count a piece of evidence, once, with the most points that it has."""
        mine = self.points.setdefault(path, {})
        mine[kind, said] = max(mine.get((kind, said), 0.0), points)

    def frames(self, said: Mentions) -> None:
        """The deeper a frame is, the more it counts."""
        points = _FRAME
        for frame in reversed(said.frames):
            files = self.files_of(frame.path)
            for path in files:
                self.add(path, "traceback", frame.function or frame.path, points / len(files))
                for symbol in self.defined.get(frame.function, ())[:_MAX_SAME]:
                    if symbol.startswith(f"{path}::"):
                        self.named[symbol] = max(self.named.get(symbol, 0.0), points)
            if files:
                points *= _UP

    def paths(self, said: Mentions) -> None:
        """Paths, but for those of frames."""
        framed = {frame.path for frame in said.frames}
        for path in said.paths:
            files = () if path in framed else self.files_of(path)
            for file in files:
                self.add(file, "path", path, _PATH / len(files))

    def imports(self, said: Mentions) -> None:
        """What code in the issue imports: weak, as most of it is only there to show the problem."""
        for module, name in said.imports:
            file = self.module_of(module)
            if file and not file.endswith("__init__.py"):
                self.add(file, "import", module, 2 * _IMPORT)
            if file and name:
                self.below(file, name, "import", f"{module}.{name}", _IMPORT)

    def names(self, said: Mentions) -> None:
        """Names of definitions and modules, the more code-like and rare the better."""
        for name, weight in said.names.items():
            head, _, last = name.rpartition(".")
            if head:
                self.dotted(name, weight)
                owned = f"{head.rpartition('.')[2]}.{last}"
            found = self.defined.get(last, [])[:_MAX_SAME]
            if head and (
                own := [one for one in found if one.endswith((f".{owned}", f"::{owned}"))]
            ):
                self.spread(own, "name", name, 1.5 * _NAME * weight)
            else:
                self.spread(found, "name", name, _NAME * weight)
            files = self.by_stem.get(name, ())
            if len(name) > 2 and len(files) <= _MAX_FILES:
                for path in files:
                    self.add(path, "module name", name, _STEM * max(weight, 0.5) / len(files))

    def dotted(self, name: str, weight: float) -> None:
        """A module by its full name, or a definition that a package offers."""
        parts = name.split(".")[:20]
        for length in range(len(parts), 1, -1):
            module = ".".join(parts[:length])
            if file := self.module_of(module):
                if not file.endswith("__init__.py"):
                    self.add(file, "module", module, _MODULE * weight)
                if length < len(parts):
                    self.below(file, parts[length], "name", name, _NAME * weight)
                return

    def below(self, file: str, name: str, kind: str, said: str, points: float) -> None:
        """A name that a module or package offers, wherever below it that is defined."""
        start = file.removesuffix("__init__.py")
        found = (one for one in self.defined.get(name, ())[:_MAX_SAME] if one.startswith(start))
        self.spread([one for one in found if one.endswith(f"::{name}")], kind, said, points)

    def spread(self, found: Sequence[SymbolId], kind: str, said: str, points: float) -> None:
        """Share points among the files that define a name; for a common one there are none."""
        files = dict.fromkeys(one.partition("::")[0] for one in found)
        if not 0 < len(files) <= _MAX_FILES:
            return
        for path in files:
            self.add(path, kind, said, points / len(files))
        for symbol in found:
            self.named[symbol] = max(self.named.get(symbol, 0.0), points / len(files))

    def files_of(self, path: str) -> list[str]:
        """The files whose paths agree with one from its end on, as far as any does."""
        parts = path.strip("/").split("/")
        same = self.by_name.get(parts[-1], ())[:_MAX_SAME_FILES]
        found = [(_shared(parts, one.split("/")), one) for one in same]
        best = max((shared for shared, _ in found), default=0)
        files = [one for shared, one in found if shared == best]
        whole = [one for one in files if one.count("/") + 1 == best]
        certain = whole or (files if best > 1 or len(parts) == 1 else [])
        return certain if len(certain) <= _MAX_FILES else []

    def module_of(self, dotted: str) -> str | None:
        """The file that a dotted name means from some import root, the shallowest if several."""
        end = "/" + dotted.replace(".", "/")
        found = self.by_stem.get(dotted.rpartition(".")[2], ())
        exact = [one for one in found if f"/{_module(one)}".endswith(end)]
        return min(exact, key=lambda one: (one.count("/"), one), default=None)

    def words(self, said: Mentions) -> dict[str, float]:
        """Words that paths and definitions share with the text, rare ones above all.

        Files are scored as BM25 scores documents; a word in a path counts three times.
        """
        counts: dict[str, dict[str, int]] = {path: {} for path in self.sized}
        for path, mine in counts.items():
            for word in words_of(_module(path)):
                if word in said.words:
                    mine[word] = mine.get(word, 0) + 3
        for name, found in self.defined.items():
            for word in words_of(name):
                if word in said.words:
                    for symbol in found:
                        mine = counts[symbol.partition("::")[0]]
                        mine[word] = mine.get(word, 0) + 1
        spread: dict[str, int] = {}
        for mine in counts.values():
            for word in mine:
                spread[word] = spread.get(word, 0) + 1
        total = len(counts)
        weights = {
            word: said.words[word] * math.log(1 + (total - files + 0.5) / (files + 0.5))
            for word, files in spread.items()
        }
        usual = 10 + sum(self.sized.values()) / max(1, total)
        scores: dict[str, list[tuple[float, str]]] = {}
        for path, mine in counts.items():
            long = 1.2 * (0.25 + 0.75 * (10 + self.sized[path]) / usual)
            points = ((weights[word] * one / (one + long), word) for word, one in mine.items())
            scores[path] = sorted(points, reverse=True)[:8]
        best = max((sum(one for one, _ in mine) for mine in scores.values()), default=0.0)
        for path, shared in scores.items():
            for one, word in shared:
                self.add(path, "word", word, _WORDS * one / best)
        return weights

    def sizes(self) -> None:
        """The last resort."""
        for path, size in self.sized.items():
            self.add(path, "size", f"{size} definitions", size / 1000)

    def ranking(self) -> tuple[IssueModule, ...]:
        """The modules with most points."""
        modules = []
        for path, mine in self.points.items():
            evidence = [Evidence(kind, said, points) for (kind, said), points in mine.items()]
            evidence.sort(key=lambda one: (-one.points, one.kind, one.said))
            total = math.fsum(one.points for one in evidence)
            kinds = {one.kind for one in evidence}
            if _SIDE.search(path) and not kinds & {"path", "traceback"}:
                total *= 0.2
            modules.append(IssueModule(path, round(total, 6), tuple(evidence)))
        modules.sort(key=lambda one: (-one.points, one.path))
        return tuple(modules[:MAX_MODULES])


def _shared(left: Sequence[str], right: Sequence[str]) -> int:
    """How many parts agree, from the end on."""
    count = 0
    for one, other in zip(reversed(left), reversed(right), strict=False):
        if one != other:
            break
        count += 1
    return count


def _module(path: str) -> str:
    return path.removesuffix(".py").removesuffix("/__init__")
