"""A toolchain in miniature: everything that a real one has, and nothing that runs."""

import hashlib
from pathlib import Path

from harness.environments.toolchain_tree import DEBS, LOCK

WHEELS = ("openhands-sdk", "openhands-tools", "openhands-agent-server")
PACKAGES = {"libc6": "2.41-12", "tmux": "3.5a-3", "python3.13": "3.13.5-2"}


def fill(root: Path, *, salt: str = "") -> Path:
    """Write the files of an unsealed toolchain."""
    for name, content in {
        "bin/python": "#!/bin/sh\n",
        "lib/python3.13/os.py": f"# {salt}\n",
        DEBS: "".join(f"{name} {version} {_sha256(name)}\n" for name, version in PACKAGES.items()),
        LOCK: "".join(f"{name}==1.58.0 --hash=sha256:{_sha256(name)}\n" for name in WHEELS),
    }.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
        path.chmod(0o644)
    (root / "bin/python").chmod(0o755)
    (root / "path").mkdir()
    (root / "path/tmux").symlink_to("../bin/tmux")
    return root


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
