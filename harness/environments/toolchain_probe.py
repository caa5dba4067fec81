"""Runs in a sandbox by the toolchain's Python: does it start there, and on what?

Standard library only. Prints one JSON object.
"""

import importlib
import importlib.metadata
import json
import os
import platform
import resource
import subprocess
import time
from pathlib import Path

ROOT = "/opt/oh"
PACKAGES = ("openhands-sdk", "openhands-tools", "openhands-agent-server")
MODULES = (
    "openhands.sdk",
    "openhands.tools.terminal",
    "openhands.tools.file_editor",
    "openhands.tools.task_tracker",
)
SERVER = "openhands.agent_server.api"


def main() -> None:
    """Import what an agent needs, then see where everything came from."""
    began = time.monotonic()
    for name in MODULES:
        importlib.import_module(name)
    seconds, cpu = time.monotonic() - began, time.process_time()
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    importlib.import_module(SERVER)
    print(
        json.dumps(
            {
                "versions": {
                    **{name: importlib.metadata.version(name) for name in PACKAGES},
                    "python": platform.python_version(),
                },
                "seconds": round(seconds, 2),
                "cpu_seconds": round(cpu, 2),
                "memory_mib": memory,
                "foreign_libraries": foreign_libraries(),
                "writable": writable(),
                "tmux": tmux(),
                "image_libc": said("getconf", "GNU_LIBC_VERSION"),
            }
        )
    )


def foreign_libraries() -> list[str]:
    """Files mapped for execution that are not the toolchain's."""
    maps = [line.split(None, 5) for line in Path("/proc/self/maps").read_text().splitlines()]
    mapped = {each[5] for each in maps if len(each) == 6 and "x" in each[1]}
    return sorted(path for path in mapped if path[0] == "/" and not path.startswith(f"{ROOT}/"))


def writable() -> bool:
    """Whether the toolchain can be written to."""
    try:
        Path(ROOT, "probe").touch()
    except OSError:
        return False
    return True


def tmux() -> str:
    """What a shell in a tmux session of its own says; empty when there is none."""
    tmux = [f"{ROOT}/bin/tmux", "-L", f"probe-{os.getpid()}", "-f", os.devnull]
    said(*tmux, "new-session", "-d", "-x", "80", "-y", "10", "echo alive; sleep 60")
    try:
        for _ in range(50):
            screen = said(*tmux, "capture-pane", "-p").strip()
            if screen:
                return screen
            time.sleep(0.1)
        return ""
    finally:
        said(*tmux, "kill-server")


def said(*command: str) -> str:
    """Standard output of a command; empty when it does not run."""
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return result.stdout


if __name__ == "__main__":
    main()
