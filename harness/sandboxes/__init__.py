"""Isolated environments: containers or processes behind one contract."""

from typing import Literal

from harness.sandboxes.base import SandboxProvider


def make_provider(kind: Literal["docker", "process"]) -> SandboxProvider:
    """A provider of that kind. Raises SandboxFailure when this machine cannot run it."""
    if kind == "docker":
        from harness.sandboxes.docker import DockerProvider

        return DockerProvider()
    from harness.sandboxes.process import ProcessProvider

    return ProcessProvider()
