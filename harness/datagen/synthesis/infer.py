"""The environment that a package's tests need, read from its metadata and pinned by hash.

Nothing of the package runs here: `harness.datagen.synthesis.prove` does that, in a sandbox.
"""

import configparser
import json
import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from harness.datagen.synthesis.sources import Source
from harness.environments.errors import ImageError
from harness.environments.recipe import Recipe

_SECONDS = 600
_LARGEST_FILE = 1 << 20
_PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
_EXTRAS = ("test", "tests", "testing", "pytest")
_WIDER_EXTRAS = ("dev", "develop", "development", "all")
_FILES = (
    *("requirements-test.txt", "requirements-tests.txt", "requirements_test.txt"),
    *("test-requirements.txt", "test_requirements.txt", "tests/requirements.txt"),
    *("requirements/test.txt", "requirements/tests.txt", "requirements/testing.txt"),
)
_WIDER_FILES = (
    *("requirements-dev.txt", "requirements_dev.txt", "dev-requirements.txt"),
    *("requirements/dev.txt", "requirements.txt"),
)
_ALWAYS = ("pytest<9", "pip")
_NOT_FOR_TESTS = re.compile(
    r"(tox|nox|sphinx.*|furo|mkdocs.*|black|ruff|flake8.*|mypy.*|pyright|pylint|isort|pre-commit"
    r"|twine|build|bump.*|codecov|coveralls|towncrier|wheel|types-.*|hatch|pdm|poetry|uv|zest.*)"
)
_VERSIONED = re.compile(r"scm|vcs|versioning|versioneer|hatch-regex")


def infer_recipe(source: Source, tree: Path, more: Iterable[str] = ()) -> Recipe:
    """A pinned recipe for a source's tests.

    more: requirements that its tests turned out to need. What the metadata asks for testing is
    left out where it cannot be had as wheels together with the rest.
    Raises ImageError when nothing can be resolved.
    """
    project = _toml(tree / "pyproject.toml")
    build = [str(one) for one in project.get("build-system", {}).get("requires", ["setuptools"])]
    needed = [*_ALWAYS, *_runtime(source, project, tree), *build, *_editable(build), *more]
    problem = ImageError("")
    narrow = list(_for_tests(source, project, tree, _EXTRAS, _FILES))
    wide = list(_for_tests(source, project, tree, _WIDER_EXTRAS, _WIDER_FILES))
    for tests in [narrow, []] if narrow else [wide, []]:
        wanted = _unique([*needed, *tests])
        try:
            pinned = pin(wanted)
        except ImageError as error:
            problem = error
        else:
            return Recipe(
                repo=source.repo,
                version=source.version,
                python=_PYTHON,
                sdist=source.archive,
                requirements=tuple(pinned),
                **_install(source, build),
            )
    raise ImageError(f"{source.given}: its requirements cannot be had as wheels: {problem}")


def pin(requirements: Sequence[str]) -> list[str]:
    """Requirements and what they need, resolved to wheels pinned by hash, sorted.

    Raises ImageError with pip's last words.
    """
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.writelines(f"{line}\n" for line in requirements)
        file.flush()
        command = [sys.executable, "-m", "pip", "install", "--dry-run", "--quiet"]
        command += ["--ignore-installed", "--only-binary=:all:", "--report=-", "-r", file.name]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS)
        except subprocess.TimeoutExpired:
            raise ImageError(f"pip took over {_SECONDS} s to resolve") from None
    if done.returncode != 0:
        raise ImageError(f"pip: {done.stderr.strip()[-500:]}")
    lines = []
    for one in json.loads(done.stdout)["install"]:
        name, version = one["metadata"]["name"], one["metadata"]["version"]
        digest = one["download_info"]["archive_info"]["hashes"]["sha256"]
        lines.append(f"{canonicalize_name(name)}=={version} --hash=sha256:{digest}")
    return sorted(lines)


def _runtime(source: Source, project: Mapping[str, Any], tree: Path) -> Iterator[str]:
    """What the package needs to be imported."""
    yield from _plain(source.headers.get("requires_dist", ()), "")
    yield from _plain(project.get("project", {}).get("dependencies", ()), "")
    setup = _ini(tree / "setup.cfg")
    yield from _plain(setup.get("options", "install_requires", fallback="").splitlines(), "")


def _for_tests(
    source: Source,
    project: Mapping[str, Any],
    tree: Path,
    extras: Sequence[str],
    files: Sequence[str],
) -> Iterator[str]:
    """What the metadata asks for testing, but for tools that no test needs."""
    setup = _ini(tree / "setup.cfg")
    for extra in extras:
        yield from _tools_apart(_plain(source.headers.get("requires_dist", ()), extra))
        table = project.get("project", {}).get("optional-dependencies", {})
        yield from _tools_apart(_plain(table.get(extra, ()), ""))
        groups = project.get("dependency-groups", {})
        plain = [one for one in groups.get(extra, ()) if isinstance(one, str)]
        yield from _tools_apart(_plain(plain, ""))
        listed = setup.get("options.extras_require", extra, fallback="")
        yield from _tools_apart(_plain(listed.splitlines(), ""))
    for name in files:
        yield from _tools_apart(_plain(_text(tree / name).splitlines(), ""))
    if extras is _EXTRAS:
        listed = _ini(tree / "tox.ini").get("testenv", "deps", fallback="")
        yield from _tools_apart(_plain(listed.splitlines(), ""))


def _plain(lines: Iterable[str], extra: str) -> Iterator[str]:
    """Requirements of an index that hold here, each without its marker."""
    for line in lines:
        try:
            one = Requirement(line.partition(" #")[0].strip())
        except InvalidRequirement:
            continue
        if one.url or (one.marker and not one.marker.evaluate({"extra": extra})):
            continue
        if not extra or "extra" in str(one.marker):
            one.marker = None
            yield str(one)


def _tools_apart(requirements: Iterable[str]) -> Iterator[str]:
    for one in requirements:
        if not _NOT_FOR_TESTS.fullmatch(canonicalize_name(Requirement(one).name)):
            yield one


def _editable(build: Sequence[str]) -> Iterator[str]:
    """What build backends need besides for an editable installation."""
    if any("hatchling" in one for one in build):
        yield "editables"


def _install(source: Source, build: Sequence[str]) -> dict[str, str]:
    """Another install command where the version comes from a repository that is not there."""
    if not any(_VERSIONED.search(one) for one in build):
        return {}
    version = source.version if source.commit is None else "0"
    default = str(Recipe.model_fields["install"].default)
    names = ("SETUPTOOLS_SCM_PRETEND_VERSION", "PDM_BUILD_SCM_VERSION")
    return {"install": " ".join([*(f"{name}={version}" for name in names), default])}


def _unique(lines: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(lines))


def _toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(_text(path))
    except tomllib.TOMLDecodeError:
        return {}


def _ini(path: Path) -> configparser.RawConfigParser:
    parser = configparser.RawConfigParser()
    try:
        parser.read_string(_text(path))
    except configparser.Error:
        return configparser.RawConfigParser()
    return parser


def _text(path: Path) -> str:
    """A file's text; nothing where it is missing, a link, or large."""
    if path.is_symlink() or not path.is_file() or path.stat().st_size > _LARGEST_FILE:
        return ""
    return path.read_text(errors="replace")
