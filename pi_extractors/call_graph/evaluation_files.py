"""Which files of a repository are tests: no call graph shows them."""

import re
from collections.abc import Collection
from pathlib import PurePosixPath

_TEST_MODULE = re.compile(r"(?:(?:unit)?tests?_.*|.*_tests?|tests|conftest)\.pyi?", re.IGNORECASE)
_PATCHED = re.compile(r'^(?:---|\+\+\+) "?[ab]/([^\t\n"]{1,1000})', re.MULTILINE)


def evaluation_files(paths: Collection[str], touching: str = "") -> frozenset[str]:
    """Those of some paths that are tests, their helpers and data, or in the diff `touching`.

    A file is one by its name, or by a folder `tests` above it. A folder `test` or `testing` counts
    when it is at the top or itself holds test modules: `django/test` and `sympy/testing` do not.
    Source: CHOP App. D.6.
    """
    by_name = {path for path in paths if _TEST_MODULE.fullmatch(PurePosixPath(path).name)}
    folders = {PurePosixPath(path).parent for path in by_name}
    touched = set(_PATCHED.findall(touching))
    return frozenset(
        path
        for path in paths
        if path in by_name or path in touched or _in_tests(PurePosixPath(path), folders)
    )


def _in_tests(path: PurePosixPath, holds_tests: Collection[PurePosixPath]) -> bool:
    for folder in path.parents:
        name = folder.name.lower()
        top = len(folder.parts) == 1
        if name == "tests" or (name in ("test", "testing") and (top or folder in holds_tests)):
            return True
    return False
