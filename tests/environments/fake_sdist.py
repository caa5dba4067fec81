"""A small source distribution with one bug's worth of history, and the instance made of it."""

import gzip
import hashlib
import io
import tarfile
from pathlib import Path
from typing import Any

from harness.environments.recipe import Recipe, Sdist
from harness.records import Instance
from tests.conftest import make_instance

FILES = {
    "pkg.py": b"def answer():\n    return 42\n",
    "tests/test_pkg.py": b"import pkg\n\n\ndef test_old():\n    assert pkg\n\n\n"
    b"def test_new():\n    assert pkg.answer() == 42\n",
    "tool.sh": b"#!/bin/sh\necho hi\n",
    "notes.txt": b"one\r\ntwo\n",
    ".gitattributes": b"* text=auto eol=crlf\n",
    ".gitignore": b"notes.txt\n",
    "pkg.egg-info/SOURCES.txt": b"left out\n",
}
PATCH = """\
diff --git a/pkg.py b/pkg.py
--- a/pkg.py
+++ b/pkg.py
@@ -1,2 +1,2 @@
 def answer():
-    return 41
+    return 42
"""
TEST_PATCH = """\
diff --git a/tests/test_pkg.py b/tests/test_pkg.py
--- a/tests/test_pkg.py
+++ b/tests/test_pkg.py
@@ -3,3 +3,7 @@
 
 def test_old():
     assert pkg
+
+
+def test_new():
+    assert pkg.answer() == 42
"""
BASE_COMMIT = "077f01298d538354e3356d4e26c9fafb4c7e5657"
INSTALL = "echo /testbed > \"$(python -c 'import site; print(site.getsitepackages()[0])')/pkg.pth\""


def archive(files: dict[str, bytes], top: str = "pkg-1.0") -> bytes:
    """A gzipped tar of files; `tool.sh` is executable."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(f"{top}/{name}")
            member.size = len(data)
            member.mode = 0o775 if name.endswith(".sh") else 0o600
            tar.addfile(member, io.BytesIO(data))
    return gzip.compress(buffer.getvalue(), mtime=0)


def put_in_cache(cache: Path, files: dict[str, bytes] | None = None, **changes: Any) -> Recipe:
    """The recipe of a small distribution, whose archive is in the cache already."""
    data = archive(FILES if files is None else files)
    sdist = Sdist(name="pkg", version="1.0", sha256=hashlib.sha256(data).hexdigest())
    path = cache / "sdists" / f"pkg-1.0-{sdist.sha256[:16]}.tar.gz"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    fields = {"repo": "owner/pkg", "version": "1.0", "python": "3.11", "sdist": sdist}
    return Recipe.model_validate({**fields, "install": INSTALL, **changes})


def instance(**changes: object) -> Instance:
    """The instance whose base tree is the distribution without both patches."""
    fields = {"patch": PATCH, "test_patch": TEST_PATCH, "base_commit": BASE_COMMIT}
    return make_instance(**{**fields, **changes})
