"""OpenHands' start and memory: attempts alone and side by side, through gateway and sandbox.

    python -m benchmarks.openhands
    python -m benchmarks.openhands --image IMAGE [--transport server]

A scripted endpoint has each attempt run twenty commands. `first_call`: seconds from the order to
start the sandbox to the arrival of the first model call at the gateway. `memory`: the peaks of all
processes in the sandbox, added up. Without an image, process sandboxes with an empty repository.
"""

import argparse
import json
import re
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from harness.agents import make_agent
from harness.agents.base import GATEWAY_FOLDER, Endpoint
from harness.gateway import Gateway, read_calls
from harness.records import Budget, Event, Instance, StopReason
from harness.sandboxes.base import Bind, Limits, SandboxProvider
from harness.sandboxes.docker import DockerProvider
from harness.sandboxes.process import Mount, ProcessImage, ProcessProvider

COMMANDS = 20
PEAKS = "grep -h VmHWM /proc/[0-9]*/status | cat"


def main() -> None:
    """Measure one attempt and eight at a time, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--image", help="a Docker image with a repository in /testbed")
    parser.add_argument("--transport", choices=("exec", "server"), default="exec")
    parser.add_argument("--at-once", type=int, nargs="+", default=[1, 8])
    options = parser.parse_args()
    agent = make_agent("openhands", {"transport": options.transport})
    agent.prepare(print)
    with (
        tempfile.TemporaryDirectory() as folder,
        scripted() as endpoint,
        Gateway(endpoint) as gateway,
    ):
        provider: SandboxProvider
        if options.image:
            provider, image = DockerProvider(), options.image
        else:
            provider, image = ProcessProvider(), empty_repository(Path(folder))
        agent.binds(provider.kind)  # a volume is made once

        def attempt(number: int) -> dict[str, float]:
            logs = Path(folder, f"{len(list(Path(folder).iterdir()))}-{number}")
            logs.mkdir()
            events: list[Event] = []
            began = time.time()
            with gateway.open(budget=Budget(), seed=0, calls=logs / "calls.parquet") as door:
                binds = [*agent.binds(provider.kind)]
                binds.append(Bind(source=str(door.folder), target=GATEWAY_FOLDER))
                with provider.start(image, limits=Limits(), owner="b", binds=binds) as sandbox:
                    started = time.time()
                    base = sandbox.exec("git rev-parse HEAD", timeout=60).text.strip()
                    outcome = agent.run(
                        instance(base),
                        sandbox=sandbox,
                        endpoint=door.endpoint,
                        budget=Budget(),
                        seed=0,
                        emit=events.append,
                        logs=logs,
                    )
                door.close()
            if outcome.stop_reason is not StopReason.FINISHED:
                raise SystemExit(f"an attempt ended as {outcome.stop_reason}: {outcome.detail}")
            outputs = [event.text for event in events if event.kind == "observation"]
            if outputs[:COMMANDS] != [str(number) for number in range(COMMANDS)]:
                raise SystemExit(f"commands got other outputs than their own: {outputs}")
            first = min(row.started_at for row in read_calls(logs / "calls.parquet"))
            return {
                "sandbox_seconds": started - began,
                "first_call_seconds": first.timestamp() - began,
                "whole_seconds": time.time() - began,
                "memory_mib": peak_mib(events),
                **{name: value for event in events for name, value in figures(event).items()},
            }

        attempt(0)  # files are read from the disk once
        for count in options.at_once:
            with ThreadPoolExecutor(count) as pool:
                measured = list(pool.map(attempt, range(count)))
            print(json.dumps({"at_once": count, **summary(measured)}, indent=1))


def summary(measured: list[dict[str, float]]) -> dict[str, Any]:
    """Median and worst of each figure."""
    return {
        name: {
            "median": round(statistics.median(one[name] for one in measured), 2),
            "worst": round(max(one[name] for one in measured), 2),
        }
        for name in measured[0]
    }


def figures(event: Event) -> dict[str, float]:
    """What the runner says of its own start."""
    names = ("import_seconds", "startup_seconds")
    found = {name: float(event.data[name]) for name in names if name in event.data}
    return found | ({"start_cpu_seconds": event.data["cpu_seconds"]} if found else {})


def peak_mib(events: list[Event]) -> float:
    """The peaks that the last command but one printed."""
    peaks = [
        sum(int(kib) for kib in re.findall(r"VmHWM:\s+(\d+) kB", event.text)) / 1024
        for event in events
        if event.kind == "observation" and "VmHWM" in event.text
    ]
    return peaks[-1]


def instance(base: str) -> Instance:
    """An issue that nobody has to solve."""
    return Instance(
        instance_id="owner__pkg-1",
        repo="owner/pkg",
        base_commit=base,
        patch="-",
        test_patch="-",
        problem_statement="It fails. " * 100,
        FAIL_TO_PASS=(),
        PASS_TO_PASS=(),
    )


def empty_repository(folder: Path) -> str:
    """A process image with one commit."""
    testbed = folder / "image" / "testbed"
    testbed.mkdir(parents=True)
    git = ["git", "-c", "user.name=b", "-c", "user.email=b@b", "-C", str(testbed)]
    subprocess.run([*git, "init", "-q"], check=True)
    subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", "base"], check=True)
    mount = Mount(source="testbed", target="/testbed", mode="copy")
    ProcessImage(digest="sha256:" + "0" * 64, mounts=(mount,)).save(folder / "image")
    return str(folder / "image")


@contextmanager
def scripted() -> Iterator[Endpoint]:
    """A model that runs commands and finishes; its step is the number of answers so far."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._send({"data": [{"id": "scripted", "max_model_len": 131072}]})

        def do_POST(self) -> None:
            request = json.loads(self.rfile.read(int(self.headers["content-length"])))
            step = sum(message["role"] == "assistant" for message in request["messages"])
            command = PEAKS if step == COMMANDS else f"echo {step}"
            called = ("terminal", {"command": command})
            if step > COMMANDS:
                called = ("finish", {"message": "done"})
            function = {"name": called[0], "arguments": json.dumps(called[1])}
            call = {"id": f"call_{step}", "type": "function", "function": function}
            message = {"role": "assistant", "content": f"Step {step}.", "tool_calls": [call]}
            choice = {"index": 0, "finish_reason": "tool_calls", "message": message}
            self._send({"object": "chat.completion", "choices": [choice]})

        def _send(self, body: Any) -> None:
            data = json.dumps(body).encode()
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield Endpoint(base_url=f"http://127.0.0.1:{server.server_port}/v1", model="scripted")
    finally:
        server.shutdown()
        server.server_close()


if __name__ == "__main__":
    main()
