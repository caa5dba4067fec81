"""How much longer asks of a text teacher take one by one than side by side."""

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import orjson

from trainers.omniopd.settings import Budget, EndpointSettings
from trainers.omniopd.teachers.bounds import TokenBound
from trainers.omniopd.teachers.endpoint import EndpointTeacher
from trainers.omniopd.teachers.kept import KeptTeacher
from trainers.omniopd.texts import Ask

Result = dict[str, Any]

COUNT = 10  # continuations of an ask
_TEXT = "continues here, for about as many characters as a chunk of fifty tokens has. " * 3


def teacher_calls(
    asks: int = 200, latency: float = 0.05, concurrency: tuple[int, ...] = (1, 16)
) -> Iterator[Result]:
    """A line for each concurrency: wall seconds of all asks, of an endpoint on this machine that
    answers after `latency` seconds; answers are written to disk and none is replayed."""
    slowest = 0.0
    for threads in concurrency:
        with _endpoint(latency) as address, tempfile.TemporaryDirectory() as folder:
            settings = EndpointSettings(
                kind="endpoint", endpoint=address, model="m", prompt="text", concurrency=threads
            )
            inner = EndpointTeacher(settings, Path(folder), TokenBound())
            inner.check([])
            teacher = KeptTeacher(inner, Path(folder), Budget(), None)
            texts = [Ask((), f"the text {number}", 200, 50) for number in range(asks)]
            began = time.monotonic()
            found = dict(teacher.continuations(texts, COUNT, 0))
            seconds = time.monotonic() - began
        slowest = max(slowest, seconds)
        yield {
            "part": "teacher_calls",
            "asks": len(found),
            "concurrency": threads,
            "latency_ms": round(1000 * latency),
            "seconds": round(seconds, 2),
            "ideal_seconds": round(asks * latency / threads, 2),
            "faster_by": round(slowest / seconds, 1),
        }


@contextmanager
def _endpoint(latency: float) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = 2**16  # an answer in one piece: two would wait for each other

        def do_GET(self) -> None:
            self._send({"data": [{"id": "m"}]})

        def do_POST(self) -> None:
            body = orjson.loads(self.rfile.read(int(self.headers["Content-Length"])))
            time.sleep(latency)
            choices = [{"index": each, "text": _TEXT} for each in range(body.get("n", 1))]
            usage = {"prompt_tokens": 9, "completion_tokens": 50 * len(choices)}
            self._send({"model": "m", "choices": choices, "usage": usage})

        def log_message(self, *_: object) -> None:
            pass

        def _send(self, answer: Result) -> None:
            data = orjson.dumps(answer)
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/v1"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


if __name__ == "__main__":
    for line in teacher_calls():
        print(orjson.dumps(line).decode(), flush=True)
