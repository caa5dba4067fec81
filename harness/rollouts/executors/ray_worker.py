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

_workshops: dict[str, Workshop] = {}


def prepare(parcel: ParcelRef) -> None:
    """Make ready for the work. Raises ConfigError when this node cannot do it."""
    _workshop(parcel)


def make(parcel: ParcelRef, job: Job, lost: int) -> dict[str, bytes]:
    """Make an attempt; its files."""
    workshop = _workshop(parcel)
    with _draft() as folder, workshop:  # open no longer: Ray ends workers without a word
        workshop.make(job, folder, lost=lost)
        return pack(folder)


def grade(parcel: ParcelRef, job: Job, attempt: Attempt, patch: str, lost: int) -> dict[str, bytes]:
    """Grade an attempt; the grade's files."""
    workshop = _workshop(parcel)
    with _draft() as folder:
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
    facts |= {f"agent's {name}": value for name, value in agent.facts().items()}
    for image in sorted(set(order.images.values())):
        try:
            facts[f"image {image}"] = provider.digest(image)
        except SandboxFailure as error:
            facts[f"image {image}"] = f"missing ({error})"
    return facts


def _workshop(parcel: ParcelRef) -> Workshop:
    """This process's workshop for an order. Raises ConfigError, see `prepare`."""
    import ray

    (reference,) = parcel
    key: str = reference.hex()
    if key not in _workshops:
        # Ray blocks it, and what a sandbox runs would inherit that.
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        _workshops.clear()
        try:
            _workshops[key] = _new_workshop(ray.get(reference))
        except (SandboxFailure, ConfigError, OSError, ValueError) as error:
            where = f"{socket.gethostname()} ({ray.util.get_node_ip_address()})"
            raise ConfigError(f"Ray node {where} cannot work on this run: {error}") from None
    return _workshops[key]


def _new_workshop(parcel: Parcel) -> Workshop:
    order = parcel.order
    provider = make_provider(order.config.sandbox)
    clean(provider)
    if parcel.files:
        folder, _ = claim_folder(_scratch(), "options")  # held as long as this process lives
        unpack(parcel.files, folder)
        brought = {name.partition("/")[0]: folder / name for name in parcel.files}
        order = order.model_copy(update={"agent_options": {**order.agent_options, **brought}})
    here = node_facts(order, provider)
    differing = [
        f"{name}: {parcel.facts.get(name)} at the driver, {here.get(name)} here"
        for name in sorted({*parcel.facts, *here})
        if parcel.facts.get(name) != here.get(name)
    ]
    if differing:
        more = f" (and {len(differing) - 3} more)" if len(differing) > 3 else ""
        raise ConfigError("; ".join(differing[:3]) + more)
    return Workshop(order, provider)


@contextmanager
def _draft() -> Iterator[Path]:
    """A place for a folder, removed in the end: by `sweep` when this process is killed before."""
    folder, lock = claim_folder(_scratch(), "attempt")
    try:
        yield folder / "draft"
    finally:
        remove(folder)
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
