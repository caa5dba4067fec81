"""Where everything that can be made again is kept."""

import os
from pathlib import Path


def cache_root() -> Path:
    """The user's cache folder of this project: `$XDG_CACHE_HOME/swe-harness`."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "swe-harness"
