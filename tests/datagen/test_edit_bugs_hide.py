import subprocess
from pathlib import Path

import pytest

from harness.datagen.edit_bugs_hide import HidingError, git_diff, without_tests

SOURCE = '''\
import pytest


@pytest.mark.parametrize("x", [1])
def test_one(x):
    assert x


class TestMore:
    def test_two(self):
        """Two."""

    def test_three(self):
        def inner():
            return "é"

        assert inner()


class TestLone:
    @pytest.mark.skip
    async def test_four(self): ...'''


def test_functions_go_with_their_decorators() -> None:
    hidden = without_tests(SOURCE, {4, 13})
    assert "test_one" not in hidden
    assert "parametrize" not in hidden
    assert "test_two" in hidden
    assert "test_three" not in hidden
    assert "inner" not in hidden


def test_a_class_that_loses_all_keeps_its_name() -> None:
    hidden = without_tests(SOURCE, {10, 13, 21})
    compile(hidden, "t.py", "exec")
    assert hidden.count("    pass\n") == 2
    assert "class TestLone" in hidden
    assert "test_two" not in hidden


@pytest.mark.parametrize("line", [1, 5, 14, 99])
def test_what_is_no_test_function_cannot_be_hidden(line: int) -> None:
    with pytest.raises(HidingError, match=f"line {line} "):
        without_tests(SOURCE, {line})


@pytest.mark.parametrize("ending", ["", "\n"])
def test_git_applies_the_patch_that_brings_them_back(tmp_path: Path, ending: str) -> None:
    whole = SOURCE + ending
    for lines in ({4}, {13, 21}, {4, 10, 13, 21}):
        hidden = without_tests(whole, lines)
        (tmp_path / "t.py").write_text(hidden)
        patch = git_diff("t.py", hidden, whole).encode()
        subprocess.run(["git", "apply", "-"], cwd=tmp_path, input=patch, check=True)
        assert (tmp_path / "t.py").read_text() == whole
        subprocess.run(["git", "apply", "-R", "-"], cwd=tmp_path, input=patch, check=True)
        assert (tmp_path / "t.py").read_text() == hidden


def test_form_feeds_are_no_line_ends(tmp_path: Path) -> None:
    old, new = "a = 1\n\x0c\nb = '\u2028'\n", "a = 2\n\x0c\nb = '\u2028'\n"
    (tmp_path / "t.py").write_text(old)
    patch = git_diff("t.py", old, new).encode()
    subprocess.run(["git", "apply", "-"], cwd=tmp_path, input=patch, check=True)
    assert (tmp_path / "t.py").read_text() == new
