"""A model endpoint without a model: it plays the gold patch through an agent's own tools.

A rehearsal shows that agent, gateway, sandbox and grading work together on real instances. It says
nothing about any model.
"""

import json
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

from unidiff.patch import PatchSet

from harness.agents.base import Endpoint
from harness.records import Instance
from harness.sandboxes.base import WORKDIR

MODEL = "rehearsal"
MAX_MODEL_LEN = 131072
_MAX_BODY_BYTES = 64 * 1024 * 1024
_RECOGNISED = 200  # characters of a problem statement, without white space
_SUBMIT = "echo COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT"


class Call(NamedTuple):
    """A tool call, by OpenHands' names."""

    thought: str
    tool: str
    arguments: Mapping[str, str]


def script(instance: Instance) -> list[Call]:
    """Look, make the gold patch's edits, look again, finish."""
    calls = [_shell("Look at the repository.", f"cd {WORKDIR} && git log --oneline -1 && ls")]
    for file in PatchSet(instance.patch):
        if not file.is_modified_file or file.is_rename:
            return [calls[0], _apply(instance.patch), *_end()]
        path = f"{WORKDIR}/{file.path}"
        calls.append(Call(f"Read {file.path}.", "file_editor", {"command": "view", "path": path}))
        for hunk in file:
            old = "".join(line.value for line in hunk if line.line_type in " -")
            new = "".join(line.value for line in hunk if line.line_type in " +")
            if not _by_text(old, new):
                return [*calls, _apply(instance.patch), *_end()]
            edit = {"command": "str_replace", "path": path, "old_str": old, "new_str": new}
            calls.append(Call(f"Change {file.path}.", "file_editor", edit))
    return [*calls, *_end()]


def answer(request: Mapping[str, Any], scripts: Mapping[str, list[Call]]) -> dict[str, Any]:
    """The next message of the conversation in a chat request: the script's step after as many as
    there are answers in it, in the way that the agent's prompt asks for."""
    messages: list[Mapping[str, Any]] = request["messages"]
    said = "".join(_text(message) for message in messages)
    calls = next((calls for key, calls in scripts.items() if key in _squeezed(said)), None)
    if calls is None:
        return {"content": "This conversation is about no instance of the run."}
    step = sum(message["role"] == "assistant" for message in messages)
    call = calls[min(step, len(calls) - 1)]
    if tools := request.get("tools"):
        return _native(call, step, tools)
    if "<function=" in said:
        given = [f"<parameter={name}>{value}</parameter>" for name, value in call.arguments.items()]
        lines = [call.thought, f"<function={call.tool}>", *given, "</function>"]
        return {"content": "\n".join(lines)}
    fence = "mswea_bash_command" if "mswea_bash_command" in said else "bash"
    return {"content": f"THOUGHT: {call.thought}\n\n```{fence}\n{_command(call)}\n```"}


@contextmanager
def rehearsal_endpoint(instances: Sequence[Instance]) -> Iterator[Endpoint]:
    """Serve the scripts of a run's instances on a loopback port while the block runs."""
    scripts = {_squeezed(one.problem_statement)[:_RECOGNISED]: script(one) for one in instances}
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(lambda body: answer(body, scripts)))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, name="rehearsal", daemon=True)
    thread.start()
    try:
        yield Endpoint(base_url=f"http://127.0.0.1:{server.server_port}/v1", model=MODEL)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _handler(respond: Callable[[Any], dict[str, Any]]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            card = {"id": MODEL, "object": "model", "max_model_len": MAX_MODEL_LEN}
            self._send(200, {"object": "list", "data": [card]})

        def do_POST(self) -> None:
            body = self.rfile.read(min(int(self.headers["content-length"]), _MAX_BODY_BYTES))
            try:
                request = json.loads(body)
                message = respond(request)
            except (ValueError, KeyError, TypeError) as error:
                problem = {"message": f"not a chat request: {error!r}", "code": 400}
                self._send(400, {"error": problem})
                return
            finish = "tool_calls" if "tool_calls" in message else "stop"
            choice = {"index": 0, "finish_reason": finish}
            choice["message"] = {"role": "assistant", "content": None} | message
            words = {
                "prompt_tokens": len(_text_of(request["messages"]).split()),
                "completion_tokens": len(json.dumps(message).split()),
            }
            usage = words | {"total_tokens": sum(words.values())}
            answer = {"object": "chat.completion", "model": MODEL, "usage": usage}
            self._send(200, answer | {"id": "rehearsal", "created": 0, "choices": [choice]})

        def _send(self, status: int, body: Mapping[str, Any]) -> None:
            data = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: Any) -> None:
            pass

    return Handler


def _native(call: Call, step: int, tools: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    known = {tool["function"]["name"]: tool["function"]["parameters"] for tool in tools}
    name, arguments = call.tool, dict(call.arguments)
    if name not in known:
        name, arguments = "bash", {"command": _command(call)}
    else:
        required = known[name].get("required", ())
        arguments |= {one: call.thought for one in required if one not in arguments}
        if "security_risk" in known[name].get("properties", {}):
            arguments["security_risk"] = "LOW"
    function = {"name": name, "arguments": json.dumps(arguments)}
    return {
        "content": call.thought,
        "tool_calls": [{"id": f"call_{step}", "type": "function", "function": function}],
    }


def _command(call: Call) -> str:
    """The same step for an agent that has only a shell."""
    given = call.arguments
    if call.tool == "finish":
        return _SUBMIT
    if call.tool == "terminal":
        return given["command"]
    if given["command"] == "view":
        return f"cat {given['path']}"
    edit = json.dumps([given["path"], given["old_str"], given["new_str"]])
    return (
        "python3 - <<'EDIT'\nimport json, pathlib\n"
        f"path, old, new = json.loads({edit!r})\n"
        "file = pathlib.Path(path)\nfile.write_text(file.read_text().replace(old, new, 1))\nEDIT"
    )


def _end() -> list[Call]:
    return [
        _shell("Look at the change.", f"cd {WORKDIR} && git diff --stat"),
        Call("Done.", "finish", {"message": "The gold patch's edits are made."}),
    ]


def _apply(patch: str) -> Call:
    return _shell("Make the change.", f"cd {WORKDIR} && git apply <<'PATCH'\n{patch}PATCH")


def _shell(thought: str, command: str) -> Call:
    return Call(thought, "terminal", {"command": command})


def _by_text(old: str, new: str) -> bool:
    """Whether a hunk survives a protocol that strips what it quotes, and is not empty."""
    inner, other = old.strip(), new.strip()
    return bool(inner and other) and old.split(inner) == new.split(other)


def _text(message: Mapping[str, Any]) -> str:
    content = message.get("content") or ""
    if isinstance(content, list):
        return "".join(str(part.get("text", "")) for part in content)
    return str(content)


def _text_of(messages: Sequence[Mapping[str, Any]]) -> str:
    return "\n".join(map(_text, messages))


def _squeezed(text: str) -> str:
    return "".join(text.split())
