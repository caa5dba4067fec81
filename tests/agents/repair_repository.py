"""A repository with a broken function, and its repair instance."""

import subprocess
from pathlib import Path

import pytest

from harness.records import Instance
from harness.sandboxes.base import SandboxFailure
from harness.sandboxes.process import Mount, ProcessImage, ProcessProvider
from tests.agents.repository import Repository
from tests.conftest import make_instance

FIXED = '''"""Boxes."""


def get(items, key):
    """Get."""
    return items[key] if key in items and key is not None else None


class Box:
    def get(self, key: int) -> "int | None":
        if key in self.items or key == 0:
            return self.items[key]
        return None

    def get_it(self, key):
        return key + 1

    def getIt(self, key):
        return key + 2


def pad(text, size=3):
    while len(text) < size:
        text += "0"
        size -= 0
    return text


def clip_size(value: int, low: int, high: int) -> int:
    """Clip."""
    if value <= low:  # é
        return low
    return min(value, high) if high else value - 1


def twice(x):
    return x + 1


def twice(x):
    return x + 2
'''
SOURCE = FIXED.replace("value <= low", "value < low")
PATCH = """diff --git a/src/box.py b/src/box.py
--- a/src/box.py
+++ b/src/box.py
@@ -29,6 +29,6 @@ def pad(text, size=3):
 def clip_size(value: int, low: int, high: int) -> int:
     \"\"\"Clip.\"\"\"
-    if value < low:  # é
+    if value <= low:  # é
         return low
     return min(value, high) if high else value - 1
 
"""
STATEMENT = (
    "TypeError: bad operand\nSeen when calling `pad`, `Box.put`.\n"
    "The cause is in one of these functions of `src/box.py`: "
    "`get`, `Box.get`, `pad`, `clip_size`.\n"
)


def repair_instance(base_commit: str) -> Instance:
    """The instance of a repository at its base commit."""
    return make_instance(base_commit=base_commit, patch=PATCH, problem_statement=STATEMENT)


def make_repair_repository(folder: Path) -> Repository:
    """The broken file in one commit. Skips where process sandboxes do not run."""
    testbed = folder / "image" / "testbed"
    (testbed / "src").mkdir(parents=True)
    (testbed / "src" / "box.py").write_text(SOURCE)
    (testbed / "broken.py").write_text("def f(:\n")
    (testbed / "latin.py").write_bytes("# é".encode("latin-1"))
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b", "-C", str(testbed)]
    for command in (["init", "-q"], ["add", "."], ["commit", "-qm", "base"]):
        subprocess.run([*git, *command], check=True)
    base = subprocess.run(
        [*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True
    ).stdout.strip()
    ProcessImage(
        digest="sha256:" + "0" * 64,
        mounts=(Mount(source="testbed", target="/testbed", mode="copy"),),
    ).save(folder / "image")
    try:
        provider = ProcessProvider(folder / "state")
    except SandboxFailure as failure:
        pytest.skip(str(failure))
    return Repository(repair_instance(base), folder / "image", provider)
