"""An instance and its repository, small and real enough for every source."""

from typing import Any

from harness.records import Instance
from pi_extractors.snapshot import MemorySnapshot
from tests.conftest import make_instance

FILES = {
    "pkg/__init__.py": b"",
    "pkg/core.py": b'"""The core.\n\nDoes the work.\n"""\n\n\ndef work():\n    return 1\n',
    "pkg/old.py": b"'''Old.'''\nx = 1\n",
    "pkg/gone.py": b"x = 1\n",
    "tests/test_core.py": b"""\
import pytest

from pkg.core import work


class TestWork(Base):
    def test_kept(self):
        assert work()


def test_far():
    pass
""",
    "tests/base.py": b"class Base:\n    def test_inherited(self):\n        assert self\n",
    "tests/admin/tests.py": b"""\
class AdminTests(TestCase):
    def test_described(self):
        '''A described test.

        More.
        '''
""",
}

PATCH = """\
diff --git a/pkg/core.py b/pkg/core.py
--- a/pkg/core.py
+++ b/pkg/core.py
@@ -5,4 +5,4 @@
 
 
 def work():
-    return 1
+    return 2
diff --git a/pkg/gone.py b/pkg/gone.py
deleted file mode 100644
--- a/pkg/gone.py
+++ /dev/null
@@ -1 +0,0 @@
-x = 1
diff --git a/pkg/made.py b/pkg/made.py
new file mode 100644
--- /dev/null
+++ b/pkg/made.py
@@ -0,0 +1,2 @@
+'''Made.'''
+y = 1
diff --git a/pkg/old.py b/pkg/new.py
similarity index 100%
rename from pkg/old.py
rename to pkg/new.py
"""

TEST_PATCH = """\
diff --git a/tests/test_core.py b/tests/test_core.py
--- a/tests/test_core.py
+++ b/tests/test_core.py
@@ -4,8 +4,12 @@
 
 
 class TestWork(Base):
     def test_kept(self):
         assert work()
+
+    @pytest.mark.parametrize("x", [1, 2, 3, 4, 5])
+    def test_two(self, x):
+        assert work() == 2 * x
 
 
 def test_far():
"""


def case(**changes: Any) -> Instance:
    columns: dict[str, Any] = {
        "patch": PATCH,
        "test_patch": TEST_PATCH,
        "FAIL_TO_PASS": [f"tests/test_core.py::TestWork::test_two[{n}]" for n in range(1, 6)],
        "PASS_TO_PASS": [
            "tests/test_core.py::test_far",
            "tests/test_core.py::TestWork::test_kept",
            "tests/test_core.py::TestWork::test_inherited",
        ],
    }
    return make_instance(**columns | changes)


def snapshot(**changes: bytes | None) -> MemorySnapshot:
    """The repository; `changes` are by path, None removes."""
    files: dict[str, bytes | None] = {**FILES, **changes}
    return MemorySnapshot({path: data for path, data in files.items() if data is not None})
