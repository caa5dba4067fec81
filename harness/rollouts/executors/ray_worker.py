"""What runs on the machines of a Ray cluster: one workshop in each worker process."""

import hashlib
import os
import signal
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import harness
from harness.agents import make_agent
from harness.config import ConfigError
from harness.gateway.gateway import SOCKETS_VARIABLE
from harness.records import Attempt
from harness.records.cache import cache_root
from harness.rollouts.executors.ray_files import pack, unpack
from harness.rollouts.ledger import Job
from harness.rollouts.lock import package_versions
from harness.rollouts.work import WorkOrder, Workshop
from harness.sandboxes import make_provider
from harness.sandboxes.base import SandboxFailure, SandboxProvider
from harness.sandboxes.process_state import abandoned, claim_folder, remove

# Packages that only serve or train a model, which workers do not.
_NOT_NEEDED = frozenset({"torch", "transformers"})
# A path below which a gateway's socket still has fewer than the 107 bytes that it may have.
_SHORT = 75


@dataclass(frozen=True)
class Parcel:
    """A work order, and what it needs of the driver's machine.

    files: those that the agent's options name, as `option/file name`.
    facts: what `node_facts` must find on a node.
    """

    order: WorkOrder
    files: Mapping[str, bytes]
    facts: Mapping[str, str]


ParcelRef = Sequence[Any]
"""A Ray reference to a Parcel, in a sequence: only who opens it has it fetched."""

_opened: dict[str, tuple[Parcel, SandboxProvider]] = {}


def prepare(parcel: ParcelRef) -> None:
    """Make ready for the work. Raises ConfigError when this node cannot do it."""
    _open(parcel)


def make(parcel: ParcelRef, job: Job, lost: int) -> dict[str, bytes]:
    """Make an attempt; its files."""
    with _workshop(parcel) as (workshop, folder):
        workshop.make(job, folder, lost=lost)
        return pack(folder)


def grade(parcel: ParcelRef, job: Job, attempt: Attempt, patch: str, lost: int) -> dict[str, bytes]:
    """Grade an attempt; the grade's files."""
    with _workshop(parcel) as (workshop, folder):
        workshop.grade(job, attempt, patch, folder, lost=lost)
        return pack(folder)


def sweep(kind: Literal["docker", "process"]) -> None:
    """Remove what dead processes of this machine left."""
    with suppress(SandboxFailure):  # a node without that kind of sandbox has none to remove
        clean(make_provider(kind))


def clean(provider: SandboxProvider) -> None:
    """`sweep`, with a provider that is there."""
    provider.cleanup()
    for folder in abandoned(_scratch(), None):
        remove(folder)


def node_facts(order: WorkOrder, provider: SandboxProvider) -> dict[str, str]:
    """What has to be the same on every node for results to be: code, packages, agent, images."""
    facts = {"code of harness": _code_digest()}
    versions = package_versions().items()
    facts |= {f"package {name}": value for name, value in versions if name not in _NOT_NEEDED}
    agent = make_agent(order.config.method.agent.kind, order.agent_options)
    agent.prepare(lambda line: None)
    facts |= {f"agent's {name}": value for name, value in agent.facts().items()}
    for image in sorted(set(order.images.values())):
        try:
            facts[f"image {image}"] = provider.digest(image)
        except SandboxFailure as error:
            facts[f"image {image}"] = f"missing ({error})"
    return facts


@contextmanager
def _workshop(parcel: ParcelRef) -> Iterator[tuple[Workshop, Path]]:
    """A workshop and a folder for one piece of work: Ray ends its processes without a word."""
    content, provider = _open(parcel)
    with _place(content) as (place, order):
        long = len(os.fsencode(place)) > _SHORT
        sockets = None if long or SOCKETS_VARIABLE in os.environ else place
        with Workshop(order, provider, sockets=sockets) as workshop:
            yield workshop, place / "draft"


def _open(parcel: ParcelRef) -> tuple[Parcel, SandboxProvider]:
    """The content of a parcel that this node can work on. Raises ConfigError, see `prepare`."""
    import ray

    (reference,) = parcel
    key: str = reference.hex()
    if key not in _opened:
        _opened.clear()
        # Ray blocks it, and what a sandbox runs would inherit that.
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        content: Parcel = ray.get(reference)
        try:
            provider = make_provider(content.order.config.sandbox)
            clean(provider)
            _check(content, provider)
        except Exception as error:  # whatever it is, this node is the place to look
            where = f"{socket.gethostname()} ({ray.util.get_node_ip_address()})"
            raise ConfigError(f"Ray node {where} cannot work on this run: {error}") from None
        _opened[key] = content, provider
    return _opened[key]


def _check(parcel: Parcel, provider: SandboxProvider) -> None:
    """Raises ConfigError naming what differs from the driver's machine."""
    with _place(parcel) as (_, order):
        here = node_facts(order, provider)
    differing = [
        f"{name}: {parcel.facts.get(name)} at the driver, {here.get(name)} here"
        for name in sorted({*parcel.facts, *here})
        if parcel.facts.get(name) != here.get(name)
    ]
    if differing:
        more = f" (and {len(differing) - 3} more)" if len(differing) > 3 else ""
        raise ConfigError("; ".join(differing[:3]) + more)


@contextmanager
def _place(parcel: Parcel) -> Iterator[tuple[Path, WorkOrder]]:
    """A folder with the parcel's files, and the order that names them there.

    It is removed in the end: by `sweep` when this process is killed before.
    """
    place, lock = claim_folder(_scratch(), "work")
    try:
        files = place / "files"
        unpack(parcel.files, files)
        brought = {name.partition("/")[0]: files / name for name in parcel.files}
        options = {**parcel.order.agent_options, **brought}
        yield place, parcel.order.model_copy(update={"agent_options": options})
    finally:
        remove(place)
        os.close(lock)


def _scratch() -> Path:
    root = cache_root() / "ray"
    root.mkdir(parents=True, exist_ok=True)
    return root


def _code_digest() -> str:
    root = Path(harness.__file__).parent
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        digest.update(f"{path.relative_to(root)}\0".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]
