"""A local HTTP server that speaks the OpenAI protocol and answers from a script."""

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from harness.agents.base import Endpoint

Step = str | int | Mapping[str, Any] | Callable[[], Any]


class ScriptedEndpoint:
    """Answers the n-th chat request with the n-th step of a script; the last one repeats.

    A text is an answer's content, a number a status, a mapping the message itself (or, with
    `status`, `headers` and `body`, the whole response), a callable is called first.
    """

    def __init__(self, script: list[Step], context: int | None = None) -> None:
        self.script = script
        self.context = context
        self.requests: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.base_url = ""

    @property
    def endpoint(self) -> Endpoint:
        """How an agent reaches it."""
        return Endpoint(base_url=self.base_url, model="scripted")

    def answer(self, request: dict[str, Any]) -> tuple[int, dict[str, str], Any]:
        """Status, headers and body for a chat request."""
        self.requests.append(request)
        step: Any = self.script[min(len(self.requests), len(self.script)) - 1]
        while callable(step):
            step = step()
        if isinstance(step, int):
            return step, {}, {"error": {"message": f"scripted {step}", "code": step}}
        if isinstance(step, Mapping) and "status" in step:
            return step["status"], dict(step.get("headers", {})), step.get("body")
        message = {"content": step} if isinstance(step, str) else dict(step)
        finish = message.pop("finish_reason", "stop")
        choice = {"index": 0, "finish_reason": finish, "message": {"role": "assistant"} | message}
        usage = {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110}
        return 200, {}, {"object": "chat.completion", "choices": [choice], "usage": usage}

    def models(self) -> dict[str, Any]:
        """The body of `/v1/models`."""
        card: dict[str, Any] = {"id": "scripted", "object": "model"}
        if self.context is not None:
            card["max_model_len"] = self.context
        return {"object": "list", "data": [card]}


@contextmanager
def scripted(*script: Step, context: int | None = None) -> Iterator[ScriptedEndpoint]:
    """Serve a script on a loopback port."""
    scripted_endpoint = ScriptedEndpoint(list(script), context)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._send(200, {}, scripted_endpoint.models())

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            scripted_endpoint.headers.append({k.lower(): v for k, v in self.headers.items()})
            if self.path != "/v1/chat/completions":
                self._send(404, {}, {"error": {"message": "no such path"}})
                return
            self._send(*scripted_endpoint.answer(json.loads(body)))

        def _send(self, status: int, headers: dict[str, str], body: Any) -> None:
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
            try:
                self.send_response(status)
                for name, value in {**headers, "content-length": str(len(data))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(data)
            except ConnectionError:
                self.close_connection = True  # the client did not wait

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    scripted_endpoint.base_url = f"http://127.0.0.1:{server.server_port}/v1"
    try:
        yield scripted_endpoint
    finally:
        server.shutdown()
        server.server_close()


def after(seconds: float, step: Step) -> Callable[[], Step]:
    """A step that comes late."""

    def late() -> Step:
        time.sleep(seconds)
        return step

    return late


def bash(command: str, thought: str = "THOUGHT: go on.", fence: str = "mswea_bash_command") -> str:
    """An answer with one command."""
    return f"{thought}\n\n```{fence}\n{command}\n```"


SUBMIT = bash("echo COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT", "THOUGHT: done.")
