"""Every kind of sandbox: files in and out."""

from collections.abc import Callable

import pytest

from harness.sandboxes.base import MIB, ExecResult, Sandbox

Run = Callable[..., ExecResult]


@pytest.mark.parametrize("data", [b"", b"text\n", bytes(range(256)) * 17, b"\x06\r\n\0"])
def test_what_is_written_is_read(sandbox: Sandbox, data: bytes) -> None:
    sandbox.write("/testbed/new/folder/ö name'$x", data)
    assert sandbox.read("/testbed/new/folder/ö name'$x") == data


def test_a_large_file(sandbox: Sandbox) -> None:
    data = bytes(range(256)) * (MIB // 8)
    sandbox.write("/tmp/large", data)
    assert sandbox.read("/tmp/large") == data


def test_the_mode_of_a_file(sandbox: Sandbox, run: Run) -> None:
    sandbox.write("/testbed/run.sh", b"#!/bin/sh\necho ran\n", mode=0o755)
    sandbox.write("/testbed/plain", b"")
    assert run("./run.sh; stat -c %a run.sh plain").text == "ran\n755\n644\n"


def test_writing_replaces_a_link_and_not_its_target(sandbox: Sandbox, run: Run) -> None:
    run("echo kept > target; ln -s target link")
    sandbox.write("/testbed/link", b"new\n")
    assert run("cat target link; test -L link || echo file").text == "kept\nnew\nfile\n"


@pytest.mark.parametrize("path", ["/testbed/file/below", "/testbed/folder", "/proc/new"])
def test_what_cannot_be_written(sandbox: Sandbox, run: Run, path: str) -> None:
    run("touch file; mkdir folder")
    with pytest.raises(OSError, match=path):
        sandbox.write(path, b"data")


def test_a_file_over_the_limit(sandbox: Sandbox, run: Run) -> None:
    sandbox.write("/testbed/ten", b"0123456789")
    assert sandbox.read("/testbed/ten", limit=10) == b"0123456789"
    with pytest.raises(ValueError, match="limit of 9 bytes"):
        sandbox.read("/testbed/ten", limit=9)
    run("truncate -s 1G sparse")
    with pytest.raises(ValueError, match="limit of"):
        sandbox.read("/testbed/sparse")


@pytest.mark.parametrize(
    ("make", "path"),
    [
        ("true", "/testbed/missing"),
        ("mkdir thing", "/testbed/thing"),
        ("mkfifo thing", "/testbed/thing"),
        ("ln -s /etc/passwd thing", "/testbed/thing"),
        ("ln -s thing thing", "/testbed/thing/file"),
        ("touch thing", "/testbed/thing/file"),
        ("true", "/dev/zero"),
    ],
)
def test_only_regular_files_are_read(sandbox: Sandbox, run: Run, make: str, path: str) -> None:
    run(make)
    with pytest.raises(FileNotFoundError, match=path):
        sandbox.read(path)


def test_a_linked_folder_leads_nowhere_on_the_host(
    sandbox: Sandbox, run: Run, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("host")
    (folder / "secret").write_text("of the host")
    run(f"ln -s {folder} out")
    with pytest.raises(FileNotFoundError):
        sandbox.read("/testbed/out/secret")
    with pytest.raises(OSError, match="out/new"):
        sandbox.write("/testbed/out/new", b"data")
    assert [path.name for path in folder.iterdir()] == ["secret"]


def test_files_while_a_command_runs(sandbox: Sandbox) -> None:
    read = []

    def during(chunk: bytes) -> bool:
        sandbox.write("/tmp/in", b"data")
        read.append(sandbox.read("/tmp/in"))
        return False

    result = sandbox.exec("echo ready; sleep 1; echo end", timeout=60, on_output=during)
    assert (result.exit_code, result.output) == (0, b"ready\nend\n")
    assert read == [b"data", b"data"]
