"""Docker: volumes, and binds of a harness that runs in a container itself."""

import os
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import docker
import pytest
from docker.models.containers import Container
from docker.models.volumes import Volume

from harness.sandboxes import docker_binds
from harness.sandboxes.base import Bind, Limits, SandboxFailure
from harness.sandboxes.docker_binds import OwnContainer, own_container
from tests.conformance.sandbox_kinds import Kind, docker_kind

LIMITS = Limits(memory_bytes=256 << 20, pids=64)
Script = Callable[[str], str]


@pytest.fixture
def kind() -> Kind:
    return docker_kind()


@pytest.fixture
def volume() -> Iterator[Volume]:
    volume = docker.from_env().volumes.create(f"harness-test-{uuid.uuid4().hex}")
    yield volume
    volume.remove()


@pytest.mark.docker
def test_a_volume_is_bound_without_what_the_image_has_there(kind: Kind, volume: Volume) -> None:
    binds = [Bind(source=str(volume.name), target="/etc/apt", writable=True)]
    owner = kind.owner
    with kind.provider.start(kind.image, limits=LIMITS, owner=owner, binds=binds) as sandbox:
        assert sandbox.exec("ls /etc/apt; echo x > /etc/apt/file", timeout=30).text == ""
    binds = [Bind(source=str(volume.name), target="/opt/x")]
    with kind.provider.start(kind.image, limits=LIMITS, owner=owner, binds=binds) as sandbox:
        assert sandbox.read("/opt/x/file") == b"x\n"
        assert sandbox.exec("echo y > /opt/x/file", timeout=30).exit_code != 0


@pytest.fixture
def container(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> OwnContainer:
    """A container with three mounts, one of them a memory of its own, below `tmp_path`."""
    points = [Path("/"), tmp_path, tmp_path / "a b", tmp_path / "a b" / "memory"]
    points[-1].mkdir(parents=True)
    (tmp_path / "outer").mkdir()
    escaped = [str(point).replace(" ", r"\040") for point in points]
    mountinfo = tmp_path / "mountinfo"
    mountinfo.write_text("".join(f"1 2 0:3 / {point} rw - x y rw\n" for point in escaped))
    monkeypatch.setattr(docker_binds, "_MOUNTINFO", mountinfo)
    sources = {str(tmp_path): "/host/outer", str(tmp_path / "a b"): "/volumes/v/_data"}
    return OwnContainer("0" * 64, "now", sources)


def test_paths_are_those_of_the_innermost_mount(container: OwnContainer, tmp_path: Path) -> None:
    assert container.translate(tmp_path / "outer/x") == "/host/outer/outer/x"
    assert container.translate(tmp_path) == "/host/outer"
    assert container.translate(tmp_path / "a b" / "c") == "/volumes/v/_data/c"
    (tmp_path / "outer/link").symlink_to(tmp_path / "a b")
    assert container.translate(tmp_path / "outer/link/d") == "/volumes/v/_data/d"
    assert container.translate(tmp_path / "outer/../a b/x/..") == "/volumes/v/_data"


@pytest.mark.parametrize("path", ["/etc/passwd", "{tmp_path}/a b/memory/x"])
def test_what_only_the_container_has(container: OwnContainer, tmp_path: Path, path: str) -> None:
    path = path.format(tmp_path=tmp_path)
    with pytest.raises(SandboxFailure, match=rf"{Path(path).parent} or above"):
        container.translate(Path(path))


@pytest.mark.docker
def test_outside_of_a_container_paths_are_as_they_are(kind: Kind) -> None:
    with kind.provider.start(kind.image, limits=LIMITS, owner=kind.owner):
        assert own_container(docker.from_env().api) is None


@pytest.fixture
def outer(kind: Kind, volume: Volume) -> Iterator[Container]:
    """A container with the project, its libraries, the engine's socket and the volume /state."""
    engine = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")
    libraries = Path(docker.__file__).parents[1]
    volumes = {
        str(Path.cwd()): {"bind": "/project", "mode": "ro"},
        str(libraries): {"bind": "/libraries", "mode": "ro"},
        engine.removeprefix("unix://"): {"bind": "/engine.sock", "mode": "rw"},
        str(volume.name): {"bind": "/state", "mode": "rw"},
    }
    outer = docker.from_env().containers.run(
        kind.image,
        ["sleep", "infinity"],
        detach=True,
        init=True,
        network_mode="none",
        volumes=volumes,
        environment={
            "DOCKER_HOST": "unix:///engine.sock",
            "PYTHONPATH": "/project:/libraries",
            "PYTHONDONTWRITEBYTECODE": "1",
        },
    )
    yield outer
    outer.remove(force=True)


@pytest.fixture
def script(outer: Container, kind: Kind) -> Script:
    """Runs Python in the outer container, with a provider and a function to start sandboxes."""
    interpreter = f"python{sys.version_info.major}.{sys.version_info.minor}"
    preamble = f"""
import os
import sys
from pathlib import Path
from harness.sandboxes.base import Bind, Limits, SandboxFailure
from harness.sandboxes.docker import DockerProvider
provider = DockerProvider()
def start(*binds):
    limits = Limits(memory_bytes=256 << 20, pids=64)
    return provider.start({kind.image!r}, limits=limits, owner={kind.owner!r}, binds=binds)
"""

    def python(code: str) -> tuple[int | None, str]:
        done = outer.exec_run([interpreter, "-c", code])
        assert isinstance(done.output, bytes)
        return done.exit_code, done.output.decode()

    status, said = python("import docker, pydantic")
    if status:
        pytest.skip(f"the image does not run these libraries: {said}")

    def script(code: str) -> str:
        status, said = python(preamble + code)
        assert status == 0, said
        return said

    return script


@pytest.mark.docker
def test_a_harness_in_a_container(script: Script, kind: Kind) -> None:
    seen = script("""
Path("/state/attempt").mkdir()
Path("/state/attempt/file").write_text("seen")
with start(Bind(source="/state/attempt", target="/run/harness")) as sandbox:
    print(sandbox.read("/run/harness/file").decode())
    print(sandbox.exec("echo x > /run/harness/new", timeout=30).exit_code != 0)
with start(Bind(source="/state", target="/opt/state", writable=True)) as sandbox:
    sandbox.write("/opt/state/attempt/back", b"and back")
print(Path("/state/attempt/back").read_text())
try:
    start(Bind(source="/etc", target="/opt/etc"))
except SandboxFailure as failure:
    print(failure)
""")
    assert seen.splitlines()[:3] == ["seen", "True", "and back"]
    assert "/etc is inside this container only" in seen
    assert kind.left(kind.owner) == []


@pytest.mark.docker
def test_what_a_harness_in_a_container_leaves_is_removed(
    script: Script, kind: Kind, outer: Container
) -> None:
    crash = "start(); os._exit(0)"
    script(crash)
    assert kind.provider.cleanup(kind.owner) == 0  # its processes are not seen from here
    assert script(f"with start(): print(provider.cleanup({kind.owner!r}))") == "1\n"
    script(crash)
    outer.restart(timeout=0)
    assert script(f"print(provider.cleanup({kind.owner!r}))") == "1\n"
    script(crash)
    outer.kill()
    assert kind.provider.cleanup(kind.owner) == 1
    assert kind.left(kind.owner) == []


@pytest.mark.docker
def test_a_container_that_is_gone_is_no_host(kind: Kind) -> None:
    labels = {
        "swe-harness.owner": kind.owner,
        "swe-harness.host": f"container:{'0' * 64}@2020-01-01T00:00:00Z",
        "swe-harness.process": "1-1",
    }
    docker.from_env().containers.create(kind.image, "true", labels=labels)
    assert kind.provider.cleanup(kind.owner) == 1


def test_a_process_outside_of_containers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Other containers' mounts on a host are not taken for one's own."""
    hosts = tmp_path / "mountinfo"
    hosts.write_text(
        f"1 2 0:3 / /var/lib/docker/containers/{'a' * 64}/mounts/shm rw - tmpfs x rw\n"
    )
    monkeypatch.setattr(docker_binds, "_MOUNTINFO", hosts)
    monkeypatch.setattr(docker_binds, "_CGROUP", tmp_path / "cgroup")
    (tmp_path / "cgroup").write_text("0::/user.slice\n")
    monkeypatch.setattr("socket.gethostname", lambda: "machine")
    assert list(docker_binds._candidates()) == []
    inside = f"1 2 0:3 /docker/containers/{'b' * 64}/hosts /etc/hosts rw - ext4 x rw\n"
    hosts.write_text(inside)
    monkeypatch.setattr("socket.gethostname", lambda: "0123456789ab")
    assert list(docker_binds._candidates()) == ["b" * 64, "0123456789ab"]
