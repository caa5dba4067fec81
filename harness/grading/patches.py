"""What a model patch touches, read from its text before anything runs."""

import re
from dataclasses import dataclass
from pathlib import PurePosixPath

from harness.records import Finding

_HEADER = re.compile(r'^diff --git (?:"(?P<qa>.+?)"|(?P<a>\S.*?)) (?:"(?P<qb>b/.+)"|(?P<b>b/.+))$')
_PATH_LINE = re.compile(r'^(?:---|\+\+\+|rename (?:from|to)|copy (?:from|to)) "?(?P<path>[^"\t]+)')
_TOP_LEVEL = re.compile(r"^\+\+\+ b/(?:src/)?(?:[^/\n]+\.py|[^/\n]+/__init__\.py)$", re.M)
_TEST_INFRASTRUCTURE = {
    "conftest.py",
    "pytest.ini",
    ".pytest.ini",
    "sitecustomize.py",
    "usercustomize.py",
}
_PACKAGING = {
    "setup.py",
    "setup.cfg",
    "pyproject.toml",
    "MANIFEST.in",
    "meson.build",
    "CMakeLists.txt",
    "hatch_build.py",
}
_COMPILED = {".pyx", ".pxd", ".pxi", ".c", ".cc", ".cpp", ".cxx", ".h", ".hpp", ".f", ".f90", ".tp"}
_RUNNER_CODE = re.compile(
    r"\b_pytest\b|pytest_runtest|TestReport|os\._exit|\batexit\b|/proc/|sys\.__std(out|err)__"
)


@dataclass(frozen=True)
class PatchFacts:
    """A patch's paths and what follows from them."""

    paths: tuple[str, ...]
    test_infrastructure: tuple[str, ...]
    needs_install: bool
    findings: tuple[Finding, ...]


def inspect_patch(patch: str, *, test_paths: tuple[str, ...], gold_patch: str) -> PatchFacts:
    """Read which files a patch touches.

    `test_paths` are the files of the instance's test patch. Test infrastructure (conftest.py and
    its kind) that the gold patch touches too is left alone.
    """
    paths = patch_paths(patch)
    gold = set(patch_paths(gold_patch))
    infrastructure = tuple(
        path
        for path in paths
        if PurePosixPath(path).name in _TEST_INFRASTRUCTURE and path not in gold
    )
    tests = tuple(path for path in paths if path in test_paths)
    findings = []
    if tests:
        findings.append(
            Finding(
                code="edits_tests", text=f"edits the instance's tests, restored: {_list(tests)}"
            )
        )
    if infrastructure:
        findings.append(
            Finding(
                code="edits_test_infrastructure",
                text=f"edits test infrastructure, restored: {_list(infrastructure)}",
            )
        )
    suspicious = sorted(
        {
            match[0]
            for line in patch.splitlines()
            if line.startswith("+")
            for match in _RUNNER_CODE.finditer(line)
        }
    )
    if suspicious and not _RUNNER_CODE.search(gold_patch):
        findings.append(
            Finding(
                code="touches_test_runner",
                text=f"adds code that can reach the test runner: {_list(tuple(suspicious))}",
            )
        )
    return PatchFacts(
        paths=paths,
        test_infrastructure=infrastructure,
        needs_install=any(_packaging(path) for path in paths) or _adds_top_level(patch),
        findings=tuple(findings),
    )


def patch_paths(patch: str) -> tuple[str, ...]:
    """Every path that a patch names, without its `a/` or `b/`, in order."""
    paths: dict[str, None] = {}
    for line in patch.splitlines():
        if header := _HEADER.match(line):
            for group in ("qa", "a", "qb", "b"):
                if header[group]:
                    paths[_strip(header[group])] = None
        elif match := _PATH_LINE.match(line):
            path = match["path"].strip()
            if path != "/dev/null" and not line.startswith(("--- -", "+++ +")):
                is_rename = line.startswith(("rename", "copy"))
                paths[path if is_rename else _strip(path)] = None
    return tuple(paths)


def _strip(path: str) -> str:
    return path[2:] if path[:2] in ("a/", "b/") else path


def _packaging(path: str) -> bool:
    pure = PurePosixPath(path)
    return pure.name in _PACKAGING or pure.suffix in _COMPILED


def _adds_top_level(patch: str) -> bool:
    """Whether the patch adds a module or package that an editable install may not map yet."""
    return any(
        "\nnew file mode" in block and _TOP_LEVEL.search(block)
        for block in re.split(r"^diff --git ", patch, flags=re.M)
    )


def _list(names: tuple[str, ...], most: int = 5) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
