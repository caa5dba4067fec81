"""What a machine lacks for a profile, and the command that mends it."""

import os
import shutil
from collections.abc import Iterator
from typing import Literal

import httpx

from harness.config import Profile
from harness.records import Record
from harness.records.cache import cache_root
from harness.sandboxes import make_provider
from harness.sandboxes.base import SandboxFailure

_GIB = 2**30


class Check(Record):
    """One thing that was looked at."""

    name: str
    status: Literal["ok", "warning", "missing"]
    found: str
    mend: str = ""


def examine(profile: Profile) -> list[Check]:
    """Look at everything that runs of a profile need."""
    return [
        _tool("git", "apt-get install git"),
        _sandbox(profile),
        *_machine(profile),
        _model(profile),
    ]


def _tool(name: str, mend: str) -> Check:
    path = shutil.which(name)
    if path:
        return Check(name=name, status="ok", found=path)
    return Check(name=name, status="missing", found="not on the PATH", mend=mend)


def _sandbox(profile: Profile) -> Check:
    try:
        provider = make_provider(profile.sandbox)
        left = provider.cleanup()
    except SandboxFailure as error:
        mend = {
            "docker": "docker/engine.sh start --install, or set DOCKER_HOST",
            "process": "apt-get install bubblewrap",
        }[profile.sandbox]
        name = f"{profile.sandbox} sandbox"
        return Check(name=name, status="missing", found=str(error), mend=mend)
    found = "answers" + (f"; removed {left} sandboxes of crashed runs" if left else "")
    return Check(name=f"{profile.sandbox} sandbox", status="ok", found=found)


def _machine(profile: Profile) -> Iterator[Check]:
    cores = len(os.sched_getaffinity(0))
    enough = 2 * cores >= profile.workers  # attempts wait for the model half of their time
    yield Check(
        name="cores",
        status="ok" if enough else "warning",
        found=f"{cores} for {profile.workers} workers",
        mend="" if enough else f"run with --workers {2 * cores}",
    )
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    wanted = profile.limits.memory_bytes * profile.workers
    yield Check(
        name="memory",
        status="ok" if memory >= wanted else "warning",
        found=f"{memory / _GIB:.0f} GiB for {profile.workers} × "
        f"{profile.limits.memory_bytes / _GIB:.0f} GiB",
        mend="" if memory >= wanted else "run with fewer --workers",
    )
    folder = next(path for path in (cache_root(), *cache_root().parents) if path.exists())
    free = shutil.disk_usage(folder).free
    need = 5 if profile.sandbox == "process" else 50
    yield Check(
        name="disk",
        status="ok" if free >= need * _GIB else "warning",
        found=f"{free / _GIB:.0f} GiB free in {folder}, {need} GiB recommended",
        mend="" if free >= need * _GIB else "set XDG_CACHE_HOME to a larger disk",
    )


def _model(profile: Profile) -> Check:
    if profile.model.kind == "embedded":
        import importlib.util

        missing = [
            name
            for name in ("torch", "transformers", "uvicorn")
            if not importlib.util.find_spec(name)
        ]
        return Check(
            name="embedded model",
            status="missing" if missing else "ok",
            found=f"not installed: {', '.join(missing)}" if missing else "can be served",
            mend="pip install 'swe-harness[embedded]'" if missing else "",
        )
    if profile.model.kind == "rehearsal":
        return Check(name="model", status="ok", found="none: gold patches are played")
    base_url = profile.model.base_url or os.environ.get("HARNESS_BASE_URL")
    mend = "vllm serve MODEL --port 8000, then: export HARNESS_BASE_URL=http://127.0.0.1:8000/v1"
    if not base_url:
        return Check(
            name="model endpoint", status="missing", found="HARNESS_BASE_URL is not set", mend=mend
        )
    try:
        httpx.get(f"{base_url.rstrip('/')}/models", timeout=10).raise_for_status()
    except httpx.HTTPStatusError as error:
        if error.response.status_code in (401, 403):
            mend = "export HARNESS_API_KEY=…"
        return Check(name="model endpoint", status="missing", found=str(error), mend=mend)
    except httpx.HTTPError as error:
        return Check(
            name="model endpoint", status="missing", found=f"{base_url}: {error}", mend=mend
        )
    return Check(name="model endpoint", status="ok", found=base_url)
