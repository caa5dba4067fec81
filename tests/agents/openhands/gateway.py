"""A scripted model behind a Unix socket, as an attempt's gateway offers one."""

import json
import socketserver
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

from harness.agents.base import Endpoint
from tests.agents.scripted_endpoint import ScriptedEndpoint, Step


class SocketEndpoint(ScriptedEndpoint):
    """A `ScriptedEndpoint` that is reached by a socket."""

    socket: Path

    @property
    def endpoint(self) -> Endpoint:
        return Endpoint(base_url="http://gateway/v1", model="scripted", socket=self.socket)


class _Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True
    request_queue_size = 64


@contextmanager
def gateway(folder: Path, *script: Step, context: int | None = None) -> Iterator[SocketEndpoint]:
    """Serve a script at `folder/gateway.sock`."""
    served = SocketEndpoint(list(script), context)
    served.socket = folder / "gateway.sock"

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
            try:
                self.send_response(status)
                content = {"content-type": "application/json", "content-length": str(len(data))}
                for name, value in {**headers, **content}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(data)
            except ConnectionError:
                self.close_connection = True

        def log_message(self, *_: Any) -> None:
            pass

    folder.mkdir(exist_ok=True)
    folder.chmod(0o755)
    server = _Server(str(served.socket), Handler)
    served.socket.chmod(0o666)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield served
    finally:
        server.shutdown()
        server.server_close()
        served.socket.unlink()


def call(tool: str, thought: str = "Go on.", **arguments: Any) -> dict[str, Any]:
    """An answer that calls one tool."""
    return calls((tool, arguments), thought=thought)


def calls(*wanted: tuple[str, dict[str, Any]], thought: str = "Go on.") -> dict[str, Any]:
    """An answer that calls several tools."""
    return {
        "content": thought,
        "finish_reason": "tool_calls",
        "tool_calls": [
            {
                "id": f"call_{uuid.uuid4().hex[:12]}",
                "type": "function",
                "function": {"name": name, "arguments": json.dumps(arguments)},
            }
            for name, arguments in wanted
        ],
    }


def sh(command: str, thought: str = "Go on.", **more: Any) -> dict[str, Any]:
    """An answer that runs a command in the terminal."""
    return call("terminal", thought, command=command, **more)


FINISH = call("finish", "Done.", message="Fixed.")
