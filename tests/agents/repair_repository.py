"""A repository with a broken function, and its repair instance."""

from pathlib import Path

from harness.records import Instance
from tests.agents.repository import Repository, make_repository
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
    files = {
        "src/box.py": SOURCE.encode(),
        "broken.py": b"def f(:\n",
        "latin.py": "# é".encode("latin-1"),
    }
    return make_repository(folder, files, repair_instance)
