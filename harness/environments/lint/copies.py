"""Copies of the project outside its work tree: installed, vendored, or packed in an archive."""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from packaging.version import InvalidVersion, Version
from unidiff.patch import PatchSet

from harness.environments.image_files import Entry
from harness.environments.lint.findings import Finding, Rule
from harness.environments.lint.scan import TESTBED, Scan
from harness.records import Instance

_SITES = ("site-packages", "dist-packages")
_COMMON = frozenset({"tests", "test", "testing", "docs", "doc", "examples", "conftest.py"})
_CONVINCING = 3
_SHOWN = 3


@dataclass
class _Copy:
    same: list[str] = field(default_factory=list)
    other: list[str] = field(default_factory=list)


def check_copies(
    scan: Scan, instance: Instance, tree: Mapping[str, tuple[str, str]], known: frozenset[bytes]
) -> Iterator[Finding]:
    """Findings for copies whose files differ from those of the base commit.

    An older release (its metadata say so) and a vendored copy are warnings, unless they have the
    lines that the gold patch adds: then the rule on those lines refuses them.
    """
    names = _Names(instance, tree)
    names.read_host(scan)
    installed = _base_version(scan, names)
    copies: dict[str, _Copy] = defaultdict(_Copy)
    for path, blob in scan.blobs.items():
        if not path.startswith(f"{TESTBED}/") and (inner := names.inside(path)):
            root = path.removesuffix(inner)
            copy = copies[root]
            (copy.same if blob in names.modules[inner] else copy.other).append(path)
    for root, copy in sorted(copies.items()):
        touched = [path for path in copy.other if path.removeprefix(root) in names.touched]
        convincing = copy.same or len(copy.other) >= _CONVINCING or _is_site(root)
        if not (copy.other and convincing):
            continue
        version = _version_at(scan, names, root)
        tells = any(scan.gold.tells(scan.gold_lines.get(path, ()), known) for path in copy.other)
        older = _older(version, installed)
        harmless = not tells and (older or _is_vendored(root))
        yield Finding(
            rule=Rule.OTHER_COPY,
            severity="warning" if harmless else "error",
            path=root,
            detail=f"a copy of {names.main}{f' {version}' if version else ''} with "
            f"{len(copy.other)} files that are not the base commit's"
            + (f" (installed: {installed})" if installed else ""),
            object=", ".join(sorted(touched or copy.other)[:_SHOWN]),
            reproduce=f"diff -r {TESTBED}/{names.folder} {root}{names.main}",
        )


class _Names:
    """What the project's modules and distributions are called, as the gold patch and tree say."""

    def __init__(self, instance: Instance, tree: Mapping[str, tuple[str, str]]) -> None:
        packages = {
            str(PurePosixPath(path).parent) for path in tree if path.endswith("/__init__.py")
        }
        importable = {
            path: self._import_path(path, packages) for path in tree if path.endswith(".py")
        }
        changed = {file.path for file in PatchSet(instance.patch)}
        self.touched = {inner for path, inner in importable.items() if path in changed}
        project = _normal(instance.repo.partition("/")[2])
        tops = {inner.partition("/")[0] for inner in self.touched}
        tops |= {
            top
            for top in (inner.partition("/")[0] for inner in importable.values())
            if _normal(top.removesuffix(".py")) in (project, project.removeprefix("python-"))
        }
        tops -= _COMMON | {"setup.py"}
        self.distributions = {project} | {_normal(top.removesuffix(".py")) for top in tops}
        self.main = min(tops, default=project)
        self.modules: dict[str, set[str]] = defaultdict(set)
        self.folder = self.main
        for path, inner in importable.items():
            if inner.partition("/")[0] in tops:
                self.modules[inner].add(tree[path][1])
                if inner.partition("/")[0] == self.main:
                    self.folder = path.removesuffix(inner) + self.main
        self._ends = defaultdict(list)
        for inner in self.modules:
            self._ends[inner.rpartition("/")[2]].append(inner)

    @staticmethod
    def _import_path(path: str, packages: set[str]) -> str:
        top = PurePosixPath(path)
        for parent in PurePosixPath(path).parents:
            if str(parent) not in packages:
                break
            top = parent
        return path.removeprefix(str(top.parent) + "/") if str(top.parent) != "." else path

    def inside(self, path: str) -> str:
        """The import path of a file that could be one of the project's; empty for others."""
        candidates = self._ends.get(path.rpartition("/")[2], ())
        for inner in sorted(candidates, key=len, reverse=True):
            if path.endswith(f"/{inner}") and ("/" in inner or _is_site(path.removesuffix(inner))):
                return inner
        return ""

    def read_host(self, scan: Scan) -> None:
        """Look at what this machine's own folders have of the project."""
        for entry in scan.host:
            if self._concerns(entry):
                scan.look(entry.path, entry.read(), unpack=True)

    def _concerns(self, entry: Entry) -> bool:
        name = entry.path.rpartition("/")[2]
        if name in ("METADATA", "PKG-INFO"):
            name = entry.path.split("/")[-2]
        elif name.endswith(".py"):
            return bool(self.inside(entry.path))
        return _normal(re.split(r"-\d", name, maxsplit=1)[0]) in self.distributions


def _base_version(scan: Scan, names: _Names) -> str:
    """The version that the work tree was installed as."""
    found = {
        version
        for path, (name, version) in scan.metadata.items()
        if _normal(name) in names.distributions
        and (path.startswith((f"{TESTBED}/", "/opt/miniconda3/envs/testbed/")))
        and "!/" not in path
        and "/_vendor/" not in path
    }
    return found.pop() if len(found) == 1 else ""


def _version_at(scan: Scan, names: _Names, root: str) -> str:
    for path, (name, version) in sorted(scan.metadata.items()):
        beside = path.startswith(root) and path.removeprefix(root).count("/") <= 1
        if beside and _normal(name) in names.distributions:
            return version
    return ""


def _older(version: str, installed: str) -> bool:
    try:
        return Version(version) < Version(installed)
    except InvalidVersion:
        return False


def _is_site(root: str) -> bool:
    return "!/" in root or root.rstrip("/").endswith(_SITES)


def _is_vendored(root: str) -> bool:
    return any(part in ("_vendor", "vendor", "_vendored") for part in PurePosixPath(root).parts)


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
