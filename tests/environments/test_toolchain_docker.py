"""The toolchain as an image and a volume, and in images with an older libc or no Python."""

import io
import tarfile
import uuid
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from docker.client import DockerClient
from docker.errors import ImageNotFound, NotFound

from harness.environments import toolchain_build
from harness.environments.base_images import LABEL, base_image
from harness.environments.engine import connect
from harness.environments.errors import ImageError
from harness.environments.toolchain import (
    TOOLCHAIN_FOLDER,
    Toolchain,
    ensure_toolchain,
    read_toolchain,
    toolchain_bind,
)
from harness.environments.toolchain_build import build_toolchain
from harness.environments.toolchain_docker import ensure_image, ensure_volume, volume_name
from harness.environments.toolchain_tree import FACTS, FILLED, differences, seal
from harness.environments.toolchain_verify import verify_toolchain
from harness.records.cache import cache_root
from harness.sandboxes.base import Limits
from harness.sandboxes.docker import DockerProvider
from tests.environments.toolchain_bench import fill

pytestmark = pytest.mark.docker
NO_PYTHON = "rm -rf /opt/miniconda3 /usr/bin/*python* /usr/lib/python*; ! command -v python3"


@pytest.fixture
def client() -> DockerClient:
    try:
        return connect()
    except ImageError as error:
        pytest.skip(str(error))


@pytest.fixture
def small(client: DockerClient, tmp_path: Path) -> Iterator[Toolchain]:
    """A toolchain in miniature that the engine has never seen."""
    root = fill(tmp_path / "tree", salt=uuid.uuid4().hex)
    seal(root)
    toolchain = read_toolchain(root)
    yield toolchain
    with suppress(NotFound):
        client.volumes.get(volume_name(toolchain)).remove()
    with suppress(ImageNotFound):
        client.images.remove(f"swe-harness/openhands:{toolchain.digest[7:19]}")


@pytest.fixture(scope="module")
def bullseye() -> str:
    try:
        client = connect()
    except ImageError as error:
        pytest.skip(str(error))
    return base_image(client, "bullseye", cache=cache_root(), on_progress=print)


def test_the_volume_has_the_tree_and_a_label(
    client: DockerClient, small: Toolchain, bullseye: str
) -> None:
    bind = toolchain_bind(small, "docker")
    assert bind.source == volume_name(small) == f"swe-harness-oh-{small.digest[7:19]}"
    volume = client.volumes.get(bind.source)
    assert volume.attrs["Labels"] == {f"{LABEL}toolchain": small.digest}
    with DockerProvider().start(bullseye, limits=Limits(), owner="test", binds=[bind]) as sandbox:
        facts = sandbox.read(f"{TOOLCHAIN_FOLDER}/{FACTS}")
        listed = sandbox.exec(f"stat -c '%a %u' {TOOLCHAIN_FOLDER}/bin/python", timeout=30)
        touched = sandbox.exec(f"touch {TOOLCHAIN_FOLDER}/x", timeout=30)
    assert facts == (small.root / FACTS).read_bytes()
    assert listed.text == "755 0\n"
    assert "Read-only file system" in touched.text
    label = f"{LABEL}toolchain={bind.source}"
    assert client.containers.list(all=True, filters={"label": label}) == []


def test_a_volume_that_was_cut_short_is_filled_again(
    client: DockerClient, small: Toolchain
) -> None:
    client.volumes.create(volume_name(small))
    ensure_image(small)
    name = ensure_volume(small)
    assert paths_in(client, small, name) >= {FILLED, FACTS, "bin/python"}


def test_force_fills_a_spoilt_volume_again(client: DockerClient, small: Toolchain) -> None:
    name = ensure_volume(small)
    spoil = client.containers.create(ensure_image(small), volumes=mounted(name))
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as writer:
        writer.addfile(tarfile.TarInfo("spoilt"))
    spoil.put_archive(TOOLCHAIN_FOLDER, archive.getvalue())
    spoil.remove()
    assert "spoilt" in paths_in(client, small, ensure_volume(small))
    assert "spoilt" not in paths_in(client, small, ensure_volume(small, force=True))


def mounted(name: str) -> dict[str, dict[str, str]]:
    return {name: {"bind": TOOLCHAIN_FOLDER, "mode": "rw"}}


def paths_in(client: DockerClient, toolchain: Toolchain, name: str) -> set[str]:
    """The files of a volume, seen through a container that never starts."""
    container = client.containers.create(ensure_image(toolchain), volumes=mounted(name))
    try:
        blocks, _ = container.get_archive(TOOLCHAIN_FOLDER)
        with tarfile.open(fileobj=io.BytesIO(b"".join(blocks))) as archive:
            return {path.partition("/")[2] for path in archive.getnames()}
    finally:
        container.remove()


def test_a_toolchain_can_be_taken_out_of_an_image(
    small: Toolchain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HARNESS_TOOLCHAIN", str(tmp_path / "taken" / "tree"))
    image = ensure_image(small)
    with pytest.raises(ImageError, match="has other packages"):
        build_toolchain(image=image, on_progress=print)
    monkeypatch.setattr(toolchain_build, "recipe_root", lambda: small.root)
    taken = build_toolchain(image=image, on_progress=print)
    assert taken.digest == small.digest
    assert differences(taken.root) == ()


def test_an_image_that_holds_something_else_is_refused(
    small: Toolchain, bullseye: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HARNESS_TOOLCHAIN", str(tmp_path / "taken" / "tree"))
    monkeypatch.setattr(toolchain_build, "recipe_root", lambda: small.root)
    (small.root / "bin/python").write_text("tampered")
    with pytest.raises(ImageError, match="not as it was built: bin/python was changed"):
        build_toolchain(image=ensure_image(small), on_progress=print)
    with pytest.raises(ImageError, match="no toolchain can be taken out"):
        build_toolchain(image=bullseye, on_progress=print)
    assert list((tmp_path / "taken").iterdir()) == [tmp_path / "taken" / ".lock"]


@pytest.mark.slow
def test_it_runs_on_an_older_libc_and_without_a_python(client: DockerClient, bullseye: str) -> None:
    name = f"swe-harness-test/no-python:{uuid.uuid4().hex[:8]}"
    container = client.containers.run(bullseye, ["bash", "-c", NO_PYTHON], detach=True)
    try:
        assert container.wait()["StatusCode"] == 0
        container.commit(*name.split(":"))
        report = verify_toolchain(
            ensure_toolchain(print), images=[bullseye, name], on_progress=print
        )
    finally:
        container.remove()
        client.images.remove(name, force=True)
    docker = [check for check in report.checks if check.where.startswith("docker ")]
    assert [check.problems for check in report.checks] == [()] * len(report.checks)
    assert ["glibc 2.31" in check.detail for check in docker] == [True, True]
    assert all(check.seconds is not None for check in docker)
