"""The entry point: a spec on stdin, lines for the harness on stdout."""

import asyncio
import json
import os
import resource
import sys
import threading
import time

from .output import Output
from .settings import close_to_others, importing


def main() -> None:
    """Run the conversation of the spec on stdin. The process ends with the last line."""
    began = time.monotonic()
    close_to_others()
    spec = json.load(sys.stdin)
    output = Output(f"{spec['folder']}/runner.log")
    late = threading.Timer(spec["startup_seconds"], os._exit, [1])
    late.daemon = True
    late.start()
    with importing(spec["folder"]):
        from openhands.sdk import __version__

        from .conversation import start
        from .rollout import Rollout
        from .wire import Wire

        imported = time.monotonic()
        wire = Wire(spec["socket"])
        rollout = Rollout(spec, wire, output)
        conversation = start(spec, wire, rollout.on_event)
    conversation.send_message(spec["task"])
    late.cancel()
    ready = {
        "sdk": __version__,
        "python": sys.version.split()[0],
        "import_seconds": round(imported - began, 3),
        "startup_seconds": round(time.monotonic() - began, 3),
        "cpu_seconds": round(time.process_time(), 3),
        "memory_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }
    output.write("ready", 0, json.dumps(ready))
    asyncio.run(rollout.run(conversation))
