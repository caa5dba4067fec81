"""Runs attacks in a sandbox and tells how each was refused."""

import json
import textwrap
from collections.abc import Mapping

from harness.sandboxes.base import Sandbox

# Runs inside: each attack is Python that raises OSError when it is refused.
_RUNNER = """
import ctypes, errno, json, os, platform, socket, struct, subprocess, sys
libc = ctypes.CDLL(None, use_errno=True)

def check(result):
    if result == -1:
        raise OSError(ctypes.get_errno(), "refused")
    return result

def call(x86_64, aarch64, *arguments):
    number = {"x86_64": x86_64, "aarch64": aarch64}[platform.machine()]
    ctypes.set_errno(0)
    return check(libc.syscall(ctypes.c_long(number), *map(ctypes.c_long, arguments)))

results = {}
for name, code in json.load(sys.stdin).items():
    child, end = os.pipe()
    if (pid := os.fork()) == 0:  # an attack may change the process that it is in
        try:
            exec(code, globals())
            said = "DONE"
        except OSError as error:
            said = errno.errorcode.get(error.errno, str(error))
        except BaseException as error:
            said = repr(error)
        os.write(end, said.encode()[:4000])
        os._exit(0)
    os.close(end)
    with os.fdopen(child) as said:
        results[name] = said.read() or "killed"
    os.waitpid(pid, 0)
print(json.dumps(results))
"""


def refusals(sandbox: Sandbox, attacks: Mapping[str, str]) -> dict[str, str]:
    """The name of the error that ended each attack, or `DONE`."""
    code = {name: textwrap.dedent(attack) for name, attack in attacks.items()}
    result = sandbox.exec(["python3", "-c", _RUNNER], timeout=120, stdin=json.dumps(code).encode())
    assert result.exit_code == 0, result.text
    found: dict[str, str] = json.loads(result.text.splitlines()[-1])
    return found
