"""How the SDK is imported: settings that the sandbox's environment must not decide."""

import ctypes
import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager

_PR_SET_DUMPABLE = 4
_SETTINGS = {
    "ALLOW_SHORT_CONTEXT_WINDOWS": "true",
    "ANONYMIZED_TELEMETRY": "false",
    "DO_NOT_TRACK": "1",
    "FASTMCP_ENV_FILE": os.devnull,  # else the work tree's .env is read
    "HF_HUB_OFFLINE": "1",
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # else it is fetched
    "LITELLM_MODE": "PRODUCTION",  # else the work tree's .env is read
    "LOG_LEVEL": "WARNING",
    "OPENHANDS_SUPPRESS_BANNER": "1",
    "OTEL_SDK_DISABLED": "true",
}
_KEPT = ("HOME", "LANG", "LC_ALL", "PATH", "TMPDIR", "TZ", "USER")


@contextmanager
def importing(folder: str) -> Iterator[None]:
    """An environment with the SDK's settings, then the one before, which commands get.

    `folder` is for the SDK's own files. Collections during the imports would take a fifth of
    their time; what is imported stays, so that later ones need not look at it.
    """
    before = dict(os.environ)
    kept = {name: before[name] for name in _KEPT if name in before}
    _replace({**kept, **_SETTINGS, "OH_PERSISTENCE_DIR": folder})
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
        _replace(before)


def close_to_others() -> None:
    """Let no process of the same user read this one's memory or use its open files."""
    ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def _replace(environment: dict[str, str]) -> None:
    os.environ.clear()
    os.environ.update(environment)
