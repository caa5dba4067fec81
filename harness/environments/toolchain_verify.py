"""Prove a toolchain: its files are those that were built, and it runs where agents will."""

import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from importlib.resources import files
from pathlib import Path

from pydantic import ValidationError

from harness.environments.base_images import OWN_NAMES
from harness.environments.engine import connect
from harness.environments.errors import ImageError
from harness.environments.toolchain import (
    PYTHON,
    TOOLCHAIN_ENV,
    TOOLCHAIN_FOLDER,
    Progress,
    Toolchain,
    toolchain_bind,
)
from harness.environments.toolchain_tree import differences
from harness.records import Record
from harness.sandboxes.base import Bind, Limits, Sandbox, SandboxFailure, SandboxProvider
from harness.sandboxes.process import Mount, ProcessImage, ProcessProvider

_OWNER = "toolchain-verify"
_SECONDS = 120.0
_NAMED = 5  # differing files a message names


class ToolchainCheck(Record):
    """One thing that was looked at; the figures are those of importing what an agent needs."""

    where: str
    problems: tuple[str, ...] = ()
    detail: str = ""
    seconds: float | None = None
    cpu_seconds: float | None = None
    memory_mib: int | None = None


class _Found(Record):
    """What the probe prints."""

    versions: dict[str, str]
    seconds: float
    cpu_seconds: float
    memory_mib: int
    foreign_libraries: list[str]
    writable: bool
    tmux: str
    image_libc: str


class ToolchainReport(Record):
    """What verifying a toolchain showed."""

    toolchain: Toolchain
    size_bytes: int
    checks: tuple[ToolchainCheck, ...]

    @property
    def ok(self) -> bool:
        """Whether no check found a problem."""
        return not any(check.problems for check in self.checks)


def verify_toolchain(
    toolchain: Toolchain, *, images: Sequence[str] | None = None, on_progress: Progress
) -> ToolchainReport:
    """Hash the files again, then run Python and tmux in every kind of sandbox there is.

    `images` are Docker images (default: the base images that the engine has). A kind that this
    machine cannot start is said in the check's detail and is no problem.
    """
    on_progress("toolchain: hashing")
    checks = [_check_files("files", differences(toolchain.root))]
    checks.append(_check_process(toolchain, on_progress))
    checks.extend(_check_docker(toolchain, images, on_progress))
    size = sum(path.lstat().st_size for path in toolchain.root.rglob("*"))
    return ToolchainReport(toolchain=toolchain, size_bytes=size, checks=tuple(checks))


def probe(sandbox: Sandbox, toolchain: Toolchain, where: str) -> ToolchainCheck:
    """Start the toolchain in a sandbox that sees it."""
    source = files("harness.environments").joinpath("toolchain_probe.py").read_bytes()
    result = sandbox.exec([PYTHON, "-"], timeout=_SECONDS, env=TOOLCHAIN_ENV, stdin=source)
    last = (result.text.strip().splitlines() or [""])[-1]
    try:
        found = _Found.model_validate_json(last)
    except ValidationError:
        how = "took too long" if result.timed_out else f"exit {result.exit_code}"
        return ToolchainCheck(where=where, problems=(f"Python does not start ({how}): {last}",))
    return ToolchainCheck(
        where=where,
        problems=tuple(_problems(found, toolchain.versions)),
        detail=f"the image has {found.image_libc.strip() or 'no getconf'}",
        seconds=found.seconds,
        cpu_seconds=found.cpu_seconds,
        memory_mib=found.memory_mib,
    )


def _problems(found: _Found, pinned: Mapping[str, str]) -> Iterator[str]:
    for name, version in found.versions.items():
        if version != pinned[name]:
            yield f"{name} is {version}, pinned is {pinned[name]}"
    if found.foreign_libraries:
        yield f"libraries of the image are used: {', '.join(found.foreign_libraries)}"
    if found.writable:
        yield f"{TOOLCHAIN_FOLDER} is writable"
    if "alive" not in found.tmux:
        yield "tmux starts no session"


def _check_files(where: str, said: Sequence[str]) -> ToolchainCheck:
    more = [f"and {len(said) - _NAMED} more"] if len(said) > _NAMED else []
    return ToolchainCheck(where=where, problems=(*said[:_NAMED], *more))


def _check_process(toolchain: Toolchain, on_progress: Progress) -> ToolchainCheck:
    where = "process sandbox"
    on_progress(f"toolchain: {where}")
    try:
        provider = ProcessProvider()
        with tempfile.TemporaryDirectory(prefix="harness-toolchain-") as name:
            folder = Path(name)
            Path(folder, "testbed").mkdir()
            mount = Mount(source="testbed", target="/testbed", mode="copy")
            ProcessImage(digest=toolchain.digest, mounts=(mount,)).save(folder)
            with _started(provider, name, toolchain_bind(toolchain, "process")) as sandbox:
                return probe(sandbox, toolchain, where)
    except SandboxFailure as error:
        return ToolchainCheck(where=where, detail=f"not run: {error}")


def _check_docker(
    toolchain: Toolchain, images: Sequence[str] | None, on_progress: Progress
) -> Iterator[ToolchainCheck]:
    from harness.sandboxes.docker import DockerProvider

    try:
        client = connect()
        provider = DockerProvider()
    except (ImageError, SandboxFailure) as error:
        yield ToolchainCheck(where="docker", detail=f"not run: {error}")
        return
    on_progress("toolchain: Docker volume")
    bind = toolchain_bind(toolchain, "docker")
    if images is None:
        found = client.images.list(filters={"reference": f"{OWN_NAMES}base.*"})
        images = sorted(tag for image in found for tag in image.tags)
    if not images:
        yield ToolchainCheck(where="docker", detail="not run: no image; `harness env build`")
    for number, image in enumerate(images):
        where = f"docker {image}"
        on_progress(f"toolchain: {where}")
        try:
            with _started(provider, image, bind) as sandbox:
                if number == 0:
                    yield _check_files(f"volume {bind.source}", _hash_inside(sandbox))
                yield probe(sandbox, toolchain, where)
        except SandboxFailure as error:
            yield ToolchainCheck(where=where, problems=(str(error),))


def _hash_inside(sandbox: Sandbox) -> tuple[str, ...]:
    """`differences`, seen by the toolchain's own Python."""
    source = files("harness.environments").joinpath("toolchain_tree.py").read_bytes()
    command = [PYTHON, "-", "check", TOOLCHAIN_FOLDER]
    result = sandbox.exec(command, timeout=_SECONDS, stdin=source)
    try:
        return tuple(json.loads(result.text))
    except ValueError:
        return (f"cannot be read: {result.text.strip()[-200:]}",)


def _started(provider: SandboxProvider, image: str, bind: Bind) -> Sandbox:
    return provider.start(image, limits=Limits(), owner=_OWNER, binds=[bind])
