"""Everything that a process in a sandbox can see, searched for canaries from inside."""

import os
import tarfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import IO

from harness.leakage.taint import Scanner
from harness.leakage.taint_sinks import Place, Sink
from harness.sandboxes.base import Sandbox, SandboxFailure

MAX_BYTES = 4 * 1024**3
MAX_SECONDS = 600.0
_BLOCK = 1024 * 1024
_OVERLAP = 1024
# Other processes' environments are readable only to those of the same user, as for an agent.
_PROCESSES = """
echo "== environment"; env
for each in /proc/[0-9]*; do
    echo "== process ${each##*/}"
    tr '\\0' ' ' <$each/cmdline; echo
    tr '\\0' '\\n' <$each/environ
    readlink $each/cwd $each/exe
done 2>/dev/null
echo "== mounts"; cat /proc/self/mountinfo
echo "== names"; cat /etc/hosts /etc/hostname 2>/dev/null
true
"""
# The kernel's own files are no text of ours. Nor are the distribution's, but for those asked for.
_FILES = """
shopt -s dotglob nullglob
roots=()
for each in /*; do
    case $each in /proc|/sys|/dev|/usr|/bin|/sbin|/lib*) ;; *) roots+=("$each") ;; esac
done
roots+=(/dev/shm "$@")
exec tar --create --ignore-failed-read --sparse --file=- "${roots[@]}" 2>/dev/null
"""
_OBJECTS = "git -c safe.directory=* -C /testbed cat-file --batch --batch-all-objects 2>/dev/null"


@dataclass
class Searched:
    """What was found, and how much was looked at. `cut` says why a part was not."""

    places: list[Place] = field(default_factory=list)
    files: int = 0
    bytes: int = 0
    seconds: float = 0.0
    cut: list[str] = field(default_factory=list)


def search_sandbox(
    sandbox: Sandbox,
    scanner: Scanner,
    name: str,
    *,
    system: Sequence[str] = ("/usr/local",),
    max_bytes: int = MAX_BYTES,
    max_seconds: float = MAX_SECONDS,
) -> Searched:
    """Search environment variables, processes, files and git objects, as a command sees them.

    Names of files and targets of links count, too. Of the distribution's own folders only `system`
    are searched. `name` stands for the sandbox in places. Raises SandboxFailure.
    """
    began = time.monotonic()
    searched = Searched()
    facts = sandbox.exec(_PROCESSES, timeout=60, cwd="/")
    if facts.exit_code != 0:
        raise SandboxFailure(f"the sandbox does not show its processes: {facts.text[-300:]}")
    _look(searched, scanner, facts.output, f"{name}: environment and processes", "")
    searched.bytes += len(facts.output)
    files = ["bash", "-c", _FILES, "bash", *system]
    for what, command in (("files", files), ("git objects", ["bash", "-c", _OBJECTS])):
        left = max_seconds - (time.monotonic() - began)
        stream = _Stream(sandbox, command, max_bytes - searched.bytes, left)
        if what == "files":
            _files(searched, scanner, stream, name)
        else:
            for block in stream.blocks():
                _look(searched, scanner, block, f"{name}:/testbed/.git", "objects")
        searched.bytes += stream.bytes
        if stream.ended:
            searched.cut.append(f"{what}: {stream.ended}")
    searched.seconds = time.monotonic() - began
    return searched


class _Stream:
    """The output of a command in a sandbox, to be read while it runs."""

    def __init__(
        self, sandbox: Sandbox, command: Sequence[str], max_bytes: int, seconds: float
    ) -> None:
        self.bytes = 0
        self.ended = ""
        self._max_bytes = max_bytes
        reading, self._writing = os.pipe()
        self.reader: IO[bytes] = os.fdopen(reading, "rb", buffering=_BLOCK)
        self._thread = threading.Thread(target=self._run, args=(sandbox, command, seconds))
        self._thread.start()

    def _run(self, sandbox: Sandbox, command: Sequence[str], seconds: float) -> None:
        with os.fdopen(self._writing, "wb") as out:

            def take(chunk: bytes) -> bool:
                self.bytes += len(chunk)
                try:
                    out.write(chunk)
                except BrokenPipeError:
                    return True
                if self.bytes > self._max_bytes:
                    self.ended = f"more than {self._max_bytes >> 20} MiB"
                return bool(self.ended)

            try:
                result = sandbox.exec(command, timeout=max(1.0, seconds), cwd="/", on_output=take)
            except SandboxFailure as failure:
                self.ended = str(failure)
                return
            if result.timed_out:
                self.ended = f"not done within {seconds:.0f} s"
            elif result.exit_code in (126, 127):
                self.ended = "the sandbox lacks the program to read them"

    def blocks(self) -> Iterator[bytes]:
        """The output in blocks that overlap."""
        tail = b""
        while block := self.reader.read(_BLOCK):
            yield tail + block
            tail = block[-_OVERLAP:]
        self.close()

    def close(self) -> None:
        """Wait for the command's end."""
        self.reader.close()
        self._thread.join()


def _files(searched: Searched, scanner: Scanner, stream: _Stream, name: str) -> None:
    try:
        with tarfile.open(fileobj=stream.reader, mode="r|") as tar:
            for member in tar:
                searched.files += 1
                path = f"/{member.name.lstrip('./')}"
                names = f"{path}\n{member.linkname}".encode(errors="surrogateescape")
                _look(searched, scanner, names, f"{name}:{path}", "its name")
                content = tar.extractfile(member) if member.isfile() else None
                tail = b""
                while content is not None and (block := content.read(_BLOCK)):
                    _look(searched, scanner, tail + block, f"{name}:{path}", "")
                    tail = block[-_OVERLAP:]
    except tarfile.TarError as error:
        if not stream.ended:
            stream.ended = f"no archive of them: {error}"
    finally:
        stream.close()


def _look(searched: Searched, scanner: Scanner, data: bytes, file: str, at: str) -> None:
    for sighting in scanner.scan(data):
        offset = "" if sighting.offset is None else f"byte {sighting.offset} of a block"
        searched.places.append(Place(Sink.SANDBOX, file, at or offset or "content", sighting))
