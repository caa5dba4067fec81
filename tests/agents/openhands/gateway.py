"""A scripted model behind a Unix socket, as an attempt's gateway offers one."""

import json
import socketserver
import tempfile
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

from harness.agents.base import GATEWAY_FOLDER, Endpoint
from harness.sandboxes.base import Bind
from tests.agents.scripted_endpoint import ScriptedEndpoint, Step


class Gateway(ScriptedEndpoint):
    """A `ScriptedEndpoint` that is reached by a socket."""

    socket: Path

    @property
    def endpoint(self) -> Endpoint:
        return Endpoint(base_url="http://gateway/v1", model="scripted", socket=self.socket)

    @property
    def bind(self) -> Bind:
        """What a sandbox sees of it."""
        return Bind(source=str(self.socket.parent), target=GATEWAY_FOLDER)


class _Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is not an error."""


@contextmanager
def gateway(*script: Step, context: int | None = None) -> Iterator[Gateway]:
    """Serve a script at a socket in a folder of its own."""
    served = Gateway(list(script), context)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def address_string(self) -> str:
            return "socket"

        def do_GET(self) -> None:
            self._send(200, {}, served.models())

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            served.headers.append({k.lower(): v for k, v in self.headers.items()})
            self._send(*served.answer(json.loads(body)))

        def _send(self, status: int, headers: dict[str, str], body: Any) -> None:
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
            self.send_response(status)
            content = {"content-type": "application/json", "content-length": str(len(data))}
            for name, value in {**headers, **content}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: Any) -> None:
            pass

    with tempfile.TemporaryDirectory(prefix="gateway-") as folder:
        Path(folder).chmod(0o755)
        served.socket = Path(folder) / "gateway.sock"
        server = _Server(str(served.socket), Handler)
        served.socket.chmod(0o666)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield served
        finally:
            server.shutdown()
            server.server_close()


def calls(*wanted: tuple[str, dict[str, Any] | str], thought: str = "Go on.") -> dict[str, Any]:
    """An answer that calls tools; arguments that are text are sent as they are."""
    return {
        "content": thought,
        "finish_reason": "tool_calls",
        "tool_calls": [
            {
                "id": f"call_{uuid.uuid4().hex[:12]}",
                "type": "function",
                "function": {
                    "name": name,
                    "arguments": given if isinstance(given, str) else json.dumps(given),
                },
            }
            for name, given in wanted
        ],
    }


def call(tool: str, thought: str = "Go on.", **arguments: Any) -> dict[str, Any]:
    """An answer that calls one tool."""
    return calls((tool, arguments), thought=thought)


def sh(command: str, thought: str = "Go on.", **more: Any) -> dict[str, Any]:
    """An answer that runs a command in the terminal."""
    return call("terminal", thought, command=command, **more)


def written(tool: str, **arguments: str) -> str:
    """An answer that calls a tool in OpenHands' text protocol."""
    lines = [f"<parameter={name}>{value}</parameter>" for name, value in arguments.items()]
    return "\n".join(["Go on.", f"<function={tool}>", *lines, "</function>"])


FINISH = call("finish", "Done.", message="Fixed.")
