"""A language server that behaves as its first argument says; run as a script.

`honest` answers every definition with the first line of the file asked about.
"""

import json
import os
import subprocess
import sys
import time
from typing import Any

MODE = sys.argv[1]
LOG = sys.argv[2]


def receive() -> dict[str, Any]:
    length = 0
    while line := sys.stdin.buffer.readline().strip():
        length = int(line.split(b":")[1])
    if not length:
        sys.exit(0)
    message: dict[str, Any] = json.loads(sys.stdin.buffer.read(length))
    return message


def send(message: object) -> None:
    body = json.dumps(message).encode()
    sys.stdout.buffer.write(b"Content-Length: %d\r\n\r\n%b" % (len(body), body))
    sys.stdout.buffer.flush()


def raw(data: bytes) -> None:
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


def location(uri: object, line: object = 0) -> dict[str, object]:
    place = {"line": line, "character": 0}
    return {"uri": uri, "range": {"start": place, "end": place}}


def answer(request: dict[str, Any]) -> object:
    uri = request["params"]["textDocument"]["uri"]
    match MODE:
        case "hang" | "hang-with-child":
            time.sleep(60)
        case "crash":
            os._exit(1)
        case "no-header":
            raw(b"x" * 10_000)
        case "negative-length":
            raw(b"Content-Length: -5\r\n\r\n")
        case "huge-length":
            raw(b"Content-Length: 9999999999\r\n\r\n")
        case "no-json":
            raw(b"Content-Length: 5\r\n\r\n{{{{{")
        case "no-object":
            send([1, 2])
        case "deep-json":
            raw(b"Content-Length: 200000\r\n\r\n" + b"[" * 200_000)
        case "flood":
            while True:
                send({"method": "window/logMessage", "params": {"message": "x" * 1000}})
        case "stale":
            send({"id": 10_000, "result": [location(uri)]})
            time.sleep(60)
        case "no-location":
            return [{"uri": 7, "range": "here"}]
        case "text":
            return "a definition"
        case "outside":
            return [location("file:///etc/passwd"), location("https://example.org/a.py")]
        case "dots":
            return [location(uri.rpartition("/")[0] + "/../../etc/passwd")]
        case "far-line":
            return [location(uri, 10**9), location(uri, -5)]
        case "asks-back":
            send({"id": "q1", "method": "workspace/configuration", "params": {"items": [{}]}})
            assert receive()["id"] == "q1"
        case "second-call-hangs" if request["id"] > 2:
            time.sleep(60)
    return [location(uri)]


with open(LOG, "a", encoding="utf-8") as log:  # noqa: PTH123
    log.write(f"{os.getpid()}\n")
    if MODE == "hang-with-child":
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
        log.write(f"{child.pid}\n")
if MODE == "deaf":
    time.sleep(60)
while True:
    got = receive()
    if got["method"] == "initialize":
        if MODE == "hang-at-start":
            time.sleep(60)
        chosen = {"positionEncoding": "utf-32"} if MODE == "utf-32" else {}
        send({"id": got["id"], "result": {"capabilities": chosen}})
    elif "id" in got:
        if MODE == "refuse":
            send({"id": got["id"], "error": {"code": -1, "message": "no"}})
            continue
        with open(LOG, "a", encoding="utf-8") as log:  # noqa: PTH123
            log.write(f"column {got['params']['position']['character']}\n")
        send({"id": got["id"], "result": answer(got)})
