"""A later commit is found wherever it hides, in Docker and process images; a clean image passes."""

import io
import tarfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness.environments.engine import connect
from harness.environments.errors import ImageError
from harness.environments.lint.findings import LintReport, Rule
from harness.environments.lint.lint import ImageLeakError, lint_image, refuse_leaks
from harness.sandboxes.process_image import Mount, ProcessImage
from tests.environments.lint.planted import PLACES, Planted, clean, installed_copy, tag

Lint = Callable[[Planted], LintReport]


@pytest.fixture
def planted(tmp_path: Path) -> Planted:
    return clean(tmp_path)


def make_process_image(planted: Planted, folder: Path) -> str:
    folder.mkdir()
    ProcessImage(
        digest="sha256:" + "0" * 64,
        mounts=tuple(
            Mount(source=str(path), target=f"/{path.name}", mode="copy")
            for path in sorted(planted.root.iterdir())
            if path.name != "usr"
        )
        + tuple(
            Mount(source=str(path), target="/from-usr", mode="copy")
            for path in [planted.root / "usr"]
            if path.is_dir()
        ),
    ).save(folder)
    return str(folder)


@pytest.fixture(params=["process", pytest.param("docker", marks=pytest.mark.docker)])
def lint(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Lint]:
    """Looks at an image made of the planted files."""
    cache = tmp_path / "cache"
    if request.param == "process":
        yield lambda planted: lint_image(
            planted.instance,
            make_process_image(planted, tmp_path / "image"),
            "process",
            cache=cache,
        )
        return
    try:
        api = connect().api
    except ImageError as error:
        pytest.skip(str(error))
    image = f"harness-test-lint-{uuid.uuid4().hex[:8]}"

    def look(planted: Planted) -> LintReport:
        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w") as tar:
            tar.add(planted.root, ".")
        api.import_image_from_data(archive.getvalue(), repository=image)
        return lint_image(planted.instance, image, "docker", cache=cache)

    yield look
    if api.images(image):
        api.remove_image(image, force=True)


def test_a_clean_image_passes(planted: Planted, lint: Lint) -> None:
    assert lint(planted).findings == ()


@pytest.mark.parametrize(
    ("plant", "rule"), PLACES, ids=[f"{plant.__name__}-{rule.value}" for plant, rule in PLACES]
)
def test_a_later_commit_is_found(
    planted: Planted, lint: Lint, plant: Callable[[Planted], None], rule: Rule
) -> None:
    plant(planted)
    assert rule in {finding.rule for finding in lint(planted).errors}


def test_a_finding_names_the_place_and_the_commit(planted: Planted, lint: Lint) -> None:
    tag(planted)
    errors = lint(planted).errors
    ref = next(finding for finding in errors if finding.rule is Rule.GIT_REF)
    assert ref.path == "/testbed/.git/refs/tags/v9"
    found = next(finding for finding in errors if finding.rule is Rule.GIT_OBJECT)
    assert (found.object, found.line) == (planted.upstream.fix, "2024-01-01 commit 3")
    assert found.path.startswith("/testbed/.git/objects/")


def test_a_report_is_kept_until_a_file_changes(planted: Planted, tmp_path: Path) -> None:
    image = make_process_image(planted, tmp_path / "image")
    first, again = (
        lint_image(planted.instance, image, "process", cache=tmp_path / "cache") for _ in "12"
    )
    assert first == again
    installed_copy(planted)
    changed = lint_image(planted.instance, image, "process", cache=tmp_path / "cache")
    assert changed.errors


def test_leaking_images_are_refused_unless_allowed(
    planted: Planted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    tag(planted)
    images = {planted.instance.instance_id: make_process_image(planted, tmp_path / "image")}
    with pytest.raises(ImageLeakError, match=r"(?s)owner__pkg-1: git-\w+: .*--allow-leaks"):
        refuse_leaks([planted.instance], images, "process", on_progress=print)
    reports = refuse_leaks([planted.instance], images, "process", allowed=True, on_progress=print)
    assert reports[0].errors
