import io
import tarfile
from pathlib import Path

import pytest

from harness.datagen.synthesis import infer
from harness.datagen.synthesis.sources import Source, find_source
from harness.environments.errors import ImageError
from tests.environments import fake_sdist

INFO = """\
Metadata-Version: 2.1
Name: pkg
Version: 1.0
Home-page: https://example.org/pkg
Project-URL: Funding, https://github.com/sponsors/someone
Project-URL: Source, https://github.com/owner/pkg.git
Requires-Dist: attrs>=20
Requires-Dist: tomli; python_version < "3.9"
Requires-Dist: freezegun; extra == "test"
Requires-Dist: sphinx; extra == "test"
Requires-Dist: evil @ https://example.org/evil.whl ; extra == "test"

Description: https://github.com/other/other
"""
PROJECT = """\
[build-system]
requires = ["hatchling", "hatch-vcs"]
[dependency-groups]
tests = ["hypothesis>6", {include-group = "lint"}]
"""


@pytest.fixture
def source(tmp_path: Path) -> Source:
    path = tmp_path / "pkg-1.0.tar.gz"
    path.write_bytes(fake_sdist.archive({"PKG-INFO": INFO.encode(), "pkg.py": b"x = 1\n"}))
    return find_source(str(path), tmp_path / "cache")


@pytest.fixture
def pinned(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    asked: list[list[str]] = []

    def pin(requirements: list[str]) -> list[str]:
        asked.append(requirements)
        if any("impossible" in one for one in requirements):
            raise ImageError("no wheel")
        return ["pytest==8.0 --hash=sha256:00"]

    monkeypatch.setattr(infer, "pin", pin)
    return asked


def test_an_archive_says_whose_it_is(source: Source) -> None:
    assert (source.repo, source.version) == ("owner/pkg", "1.0")


def test_a_file_that_is_no_archive_is_named(tmp_path: Path) -> None:
    path = tmp_path / "pkg-1.0.tar.gz"
    path.write_bytes(b"no")
    with pytest.raises(ImageError, match=r"pkg-1\.0\.tar\.gz: not a gzip file"):
        find_source(str(path), tmp_path / "cache")
    with pytest.raises(ImageError, match="NAME==VERSION"):
        find_source("pkg", tmp_path)


def test_requirements_are_those_of_runtime_tests_and_build(
    source: Source, tmp_path: Path, pinned: list[list[str]]
) -> None:
    (tmp_path / "pyproject.toml").write_text(PROJECT)
    (tmp_path / "requirements-test.txt").write_text("pytest-mock # why\n-r other.txt\nruff\n")
    (tmp_path / "tox.ini").write_text("[testenv]\ndeps =\n  pytz\n  {env:X}\n")
    recipe = infer.infer_recipe(source, tmp_path, ["pyyaml"])
    expected = ["attrs>=20", "editables", "freezegun", "hatch-vcs", "hatchling", "hypothesis>6"]
    expected += ["pip", "pytest-mock", "pytest<9", "pytz", "pyyaml"]
    assert sorted(pinned[0]) == expected
    assert recipe.requirements == ("pytest==8.0 --hash=sha256:00",)
    assert recipe.install.startswith("SETUPTOOLS_SCM_PRETEND_VERSION=1.0 ")
    assert recipe.sdist == source.archive


def test_what_cannot_be_had_for_testing_is_left_out(
    source: Source, tmp_path: Path, pinned: list[list[str]]
) -> None:
    (tmp_path / "requirements-test.txt").write_text("impossible\n")
    infer.infer_recipe(source, tmp_path)
    assert [any("impossible" in one for one in asked) for asked in pinned] == [True, False]
    with pytest.raises(ImageError, match="no wheel"):
        infer.infer_recipe(source, tmp_path, ["impossible"])


def test_links_and_large_files_are_not_read(
    source: Source, tmp_path: Path, pinned: list[list[str]]
) -> None:
    (tmp_path / "secret").write_text("secret\n")
    (tmp_path / "requirements-test.txt").symlink_to(tmp_path / "secret")
    (tmp_path / "requirements_test.txt").write_text("large\n" * 300_000)
    infer.infer_recipe(source, tmp_path)
    assert not {"secret", "large"} & set(pinned[0])


def test_a_bomb_of_metadata_is_cut(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        member = tarfile.TarInfo("pkg-1.0/PKG-INFO")
        member.size = 20 << 20
        tar.addfile(member, io.BytesIO(b"Name: pkg\n" + b"x" * member.size))
    path = tmp_path / "pkg-1.0.tar.gz"
    path.write_bytes(buffer.getvalue())
    assert len(find_source(str(path), tmp_path / "cache").metadata) <= (4 << 20) + 1
