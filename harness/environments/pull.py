"""Upstream images from a registry, by digest."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from harness.environments.errors import ImageError

if TYPE_CHECKING:
    from docker.client import DockerClient

_HOST = r"(?:localhost|[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*)"
_REGISTRY = re.compile(rf"{_HOST}(?::[0-9]{{1,5}})?")
_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_REFERENCE = re.compile(
    rf"(?P<path>(?:{_HOST}(?::[0-9]{{1,5}})?/)?{_PART}(?:/{_PART})*)"
    r"(?::(?P<tag>[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}))?"
    r"(?:@(?P<digest>sha256:[0-9a-f]{64}))?"
)
_LONGEST = 255


@dataclass(frozen=True)
class Reference:
    """The parts of an image's name. `registry` is empty for the engine's own default."""

    registry: str
    path: str
    tag: str
    digest: str

    @classmethod
    def parse(cls, text: str) -> "Reference":
        """Raises ImageError for what is no image's name."""
        match = _REFERENCE.fullmatch(text)
        if match is None or len(text) > _LONGEST:
            raise ImageError(f"{text[:80]!r} is no image's name")
        first, slash, rest = match["path"].partition("/")
        is_host = slash and ("." in first or ":" in first or first == "localhost")
        registry, path = (first, rest) if is_host else ("", match["path"])
        return cls(registry, path, match["tag"] or "", match["digest"] or "")

    @property
    def local(self) -> str:
        """The name that the image gets on this machine: one that can be built, too."""
        path = f"{self.registry}/{self.path}" if self.registry else self.path
        return f"{path}:{self.tag or 'latest'}"


@dataclass
class Puller:
    """Pulls images by digest; a registry that does not answer is not asked again.

    `registry` is asked instead of the one of the name. A name's own registry is asked only when it
    is that one or the engine's default: a row does not choose whom this machine talks to. `digests`
    (a lock's, by instance id) serve rows that name none; without either, `unpinned` allows a pull
    by tag.
    """

    client: "DockerClient"
    registry: str = ""
    digests: Mapping[str, str] = field(default_factory=dict)
    unpinned: bool = False
    on_progress: Callable[[str], None] = print
    _silent: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        if self.registry and not _REGISTRY.fullmatch(self.registry):
            raise ImageError(f"{self.registry!r} is no registry: write a host or host:port")

    def wants(self, instance_id: str, image: str) -> bool:
        """Whether there is something to pull for an instance."""
        return bool(self.unpinned or self._digest(instance_id, image))

    def pull(self, instance_id: str, image: str) -> str:
        """Pull an image and give it its local name, which is returned.

        Raises ImageError when there is no digest to pull by, or no registry has it.
        """
        from docker.errors import DockerException

        wanted = Reference.parse(image)
        if wanted.registry not in ("", self.registry):
            raise ImageError(
                f"{image} names the registry {wanted.registry}; allow it with --registry"
            )
        digest = self._digest(instance_id, image)
        if not (digest or self.unpinned):
            raise ImageError(f"{image}: neither the row nor a lock has a digest to pull it by")
        registry = self.registry or wanted.registry
        if registry in self._silent:
            raise ImageError(f"{registry or 'the default registry'} did not answer before")
        repository = f"{registry}/{wanted.path}" if registry else wanted.path
        self.on_progress(f"{instance_id}: pulling {repository}@{digest or wanted.tag or 'latest'}")
        try:
            error = self._ask(repository, digest or wanted.tag or "latest")
        except DockerException as problem:
            error = str(problem)
        if error:
            if _is_silence(error):
                self._silent.add(registry)
            raise ImageError(f"{repository} cannot be pulled: {error[:300]}")
        source = f"{repository}@{digest}" if digest else f"{repository}:{wanted.tag or 'latest'}"
        found = self.client.images.get(source)
        name, _, tag = wanted.local.rpartition(":")
        found.tag(name, tag)
        return wanted.local

    def _digest(self, instance_id: str, image: str) -> str:
        named = Reference.parse(image).digest
        return named or self.digests.get(instance_id, "").rpartition("@")[2]

    def _ask(self, repository: str, what: str) -> str:
        """Pull; the registry's last complaint, empty when there was none."""
        for step in self.client.api.pull(repository, tag=what, stream=True, decode=True):
            if "error" in step:
                return str(step["error"])
        return ""


def _is_silence(error: str) -> bool:
    words = (
        "timeout",
        "timed out",
        "no such host",
        "connection refused",
        "unreachable",
        "dial tcp",
    )
    return any(word in error.lower() for word in words)
