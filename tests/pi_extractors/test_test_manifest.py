"""The test manifest: which source is found, and what is shown first."""

import pytest

from pi_extractors.base import ExtractionError
from pi_extractors.manifest_functions import TestTree, find_tests
from pi_extractors.snapshot import MemorySnapshot
from pi_extractors.test_manifest import TestManifestSource
from tests.pi_extractors.cases import TEST_PATCH, case, snapshot

WHOLE = """\
# FAIL_TO_PASS (5): fail now, must pass
# tests/test_core.py
class TestWork(Base):
    # fails with [1], [2], [3] and 2 more
    @pytest.mark.parametrize("x", [1, 2, 3, 4, 5])
    def test_two(self, x):
        assert work() == 2 * x
# PASS_TO_PASS (3): pass now, must still pass
# tests/test_core.py
def test_far():
    pass
class TestWork(Base):
    def test_kept(self):
        assert work()
# tests/base.py
class Base:
    def test_inherited(self):
        assert self"""


def test_the_whole_manifest() -> None:
    record = TestManifestSource().extract(case(), snapshot())
    assert record.text == WHOLE
    assert record.provenance.notes == ()
    assert record.provenance.skipped == ()


def test_failing_tests_are_kept_first_then_the_nearest() -> None:
    shown = set()
    for budget in range(90, 240):
        text = TestManifestSource(budget=budget).extract(case(), snapshot()).text
        names = ("two", "kept", "far", "inherited")
        shown.add(tuple(name for name in names if f"test_{name}(" in text))
    assert shown == {
        (),  # the decorator of the failing test alone
        ("two",),
        ("two", "far"),  # a smaller one where a nearer one does not fit
        ("two", "kept"),
        ("two", "kept", "far"),
        ("two", "kept", "far", "inherited"),
    }


def _find(test_id: str, **changes: bytes | None) -> tuple[str, str] | None:
    files = snapshot(**changes)
    found = find_tests(TestTree(case(), files), [test_id])[test_id]
    return (found.path, found.function.name) if found else None


@pytest.mark.parametrize(
    ("test_id", "found"),
    [
        ("tests/test_core.py::TestWork::test_two[9]", ("tests/test_core.py", "test_two")),
        ("tests/test_core.py::TestWork::test_inherited", ("tests/base.py", "test_inherited")),
        ("test_described (admin.tests.AdminTests)", ("tests/admin/tests.py", "test_described")),
        (
            "test_described (tests.admin.tests.AdminTests.test_described)",
            ("tests/admin/tests.py", "test_described"),
        ),
        ("test_two", ("tests/test_core.py", "test_two")),
        ("test_far", ("tests/test_core.py", "test_far")),
        ("tests/test_core.py::test_two", None),
        ("tests/test_core.py::Other::test_two", None),
        ("tests/nowhere.py::test_two", None),
        ("../../etc/passwd::root", None),
        ("test_described (admin.nowhere.AdminTests)", None),
        ("test_nowhere", None),
        ("No such docstring", None),
        ("", None),
    ],
)
def test_ids_lead_to_functions(test_id: str, found: tuple[str, str] | None) -> None:
    assert _find(test_id) == found


def test_a_docstring_stands_for_its_test_in_the_modules_of_the_manifest() -> None:
    ids = ["A described test.", "test_described (admin.tests.AdminTests)"]
    found = find_tests(TestTree(case(), snapshot()), ids)
    assert {one.function.name for one in found.values() if one} == {"test_described"}
    assert None not in found.values()


def test_modules_below_tests_are_preferred() -> None:
    files: dict[str, bytes | None] = {
        "pkg/admin/tests.py": b"class AdminTests:\n    def test_described(self): pass\n"
    }
    assert _find("test_described (admin.tests.AdminTests)", **files) == (
        "tests/admin/tests.py",
        "test_described",
    )


def test_base_classes_that_go_in_circles_end() -> None:
    files: dict[str, bytes | None] = {"tests/test_c.py": b"class A(B): pass\nclass B(A): pass\n"}
    assert _find("tests/test_c.py::A::test_x", **files) is None


def test_of_two_definitions_the_later_counts() -> None:
    tree = MemorySnapshot({"tests/test_core.py": b"def test_x():\n    1\ndef test_x():\n    2\n"})
    found = find_tests(TestTree(case(), tree), ["tests/test_core.py::test_x"])
    (one,) = found.values()
    assert one
    assert one.function.line == 3


def test_ids_without_source_are_listed_and_noted() -> None:
    item = case(
        FAIL_TO_PASS=["tests/no.py::test_a"], PASS_TO_PASS=[f"gone\n{n}" for n in range(30)]
    )
    record = TestManifestSource().extract(item, snapshot())
    assert record.provenance.notes == (
        "1 of 1 FAIL_TO_PASS ids have no source in the snapshot",
        "30 of 30 PASS_TO_PASS ids have no source in the snapshot",
    )
    assert "# without source here:\n#   tests/no.py::test_a\n" in record.text
    assert "#   gone 19\n#   and 10 more" in record.text


def test_a_test_patch_that_does_not_fit_is_noted_and_the_file_kept() -> None:
    files = snapshot(**{"tests/test_core.py": b"def test_far():\n    1\n"})
    record = TestManifestSource().extract(case(), files)
    assert [one.reason for one in record.provenance.skipped] == [
        "tests/test_core.py: hunk 1 does not apply"
    ]
    assert "def test_far():\n    1" in record.text


def test_files_that_the_test_patch_makes_renames_and_removes() -> None:
    patch = (
        "diff --git a/tests/new.py b/tests/new.py\nnew file mode 100644\n--- /dev/null\n"
        "+++ b/tests/new.py\n@@ -0,0 +1,2 @@\n+def test_new():\n+    pass\n"
        "diff --git a/tests/base.py b/tests/moved.py\nsimilarity index 100%\n"
        "rename from tests/base.py\nrename to tests/moved.py\n"
        "diff --git a/tests/admin/tests.py b/tests/admin/tests.py\ndeleted file mode 100644\n"
        "--- a/tests/admin/tests.py\n+++ /dev/null\n@@ -1,6 +0,0 @@\n"
        "-class AdminTests(TestCase):\n-    def test_described(self):\n"
        "-        '''A described test.\n-\n-        More.\n-        '''\n"
    )
    tree = TestTree(case(test_patch=patch), snapshot())
    ids = [
        "tests/new.py::test_new",
        "tests/moved.py::Base::test_inherited",
        "tests/base.py::Base::test_inherited",
        "test_described (admin.tests.AdminTests)",
    ]
    assert [one is not None for one in find_tests(tree, ids).values()] == [True, True, False, False]


def test_hostile_test_patches() -> None:
    hostile = TEST_PATCH.replace("tests/test_core.py", "a/../../x.py")
    record = TestManifestSource().extract(case(test_patch=hostile), snapshot())
    assert "name leads outside" in record.provenance.skipped[0].reason
    with pytest.raises(ExtractionError, match="owner__pkg-1: test_patch: malformed"):
        TestManifestSource().extract(case(test_patch="@@ -1 +1 @@\n"), snapshot())


def test_python_2_tests_in_another_encoding() -> None:
    old = b"# coding: latin-1\nclass T:\n    def test_x(self):\n        print 'caf\xe9'\n"
    files = snapshot(**{"tests/test_old.py": old})
    item = case(FAIL_TO_PASS=["tests/test_old.py::T::test_x"])
    assert "print 'café'" in TestManifestSource().extract(item, files).text
