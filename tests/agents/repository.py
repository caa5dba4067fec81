"""A sandbox image with a small repository, and an instance for it."""

import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import pytest

from harness.records import Instance
from harness.sandboxes.base import MIB, Bind, Limits, Sandbox, SandboxFailure
from harness.sandboxes.process import Mount, ProcessImage, ProcessProvider
from tests.conftest import make_instance


@dataclass(frozen=True)
class Repository:
    """An instance, and sandboxes with its repository at the base commit."""

    instance: Instance
    image: Path
    provider: ProcessProvider

    @property
    def logs(self) -> Path:
        """Where an agent may leave files."""
        folder = self.image.parent / "logs"
        folder.mkdir(exist_ok=True)
        return folder

    @contextmanager
    def sandbox(self, binds: Sequence[Bind] = ()) -> Iterator[Sandbox]:
        """A fresh sandbox."""
        limits = Limits(memory_bytes=1024 * MIB, pids=128)
        with self.provider.start(
            str(self.image), limits=limits, owner="test-agents", binds=binds
        ) as sandbox:
            yield sandbox


def make_repository(
    folder: Path,
    files: Mapping[str, bytes] = MappingProxyType({"a.py": b"x\n"}),
    instance_at: Callable[[str], Instance] = lambda base: make_instance(base_commit=base),
) -> Repository:
    """Files in one commit, and the instance at it. Skips where process sandboxes do not run."""
    testbed = folder / "image" / "testbed"
    for name, data in files.items():
        (testbed / name).parent.mkdir(parents=True, exist_ok=True)
        (testbed / name).write_bytes(data)
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
    return Repository(instance_at(base), folder / "image", provider)
