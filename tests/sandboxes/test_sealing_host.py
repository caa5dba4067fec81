"""Every kind of sandbox: secrets, the host's files, the patch, its neighbours, and its end."""

import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.sandboxes.base import MIB, Bind, ExecResult, Limits, Sandbox
from harness.sandboxes.docker import DockerSandbox
from harness.sandboxes.process_state import remove
from tests.conformance.sandbox_kinds import Kind

Run = Callable[..., ExecResult]
Start = Callable[..., Sandbox]

_KEY = "sk-upstream-5f1d0c7e"
_COMMIT = "git -c user.name=a -c user.email=a@b commit -qm base"
_REPOSITORY = f"""
set -e
git init -q .
mkdir package && echo tracked > package/a.py && echo tracked > b.py
git add --all && {_COMMIT} && git rev-parse HEAD
"""


@pytest.fixture
def base(run: Run) -> str:
    """The commit of a repository in /testbed."""
    return run(_REPOSITORY).text.strip()


def test_the_gateway_s_key_is_nowhere(
    kind: Kind, start: Start, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", _KEY)
    (tmp_path / "gateway").mkdir()
    (tmp_path / ".env").write_text(_KEY)  # beside the folder that is bound
    sandbox = start(Bind(source=str(tmp_path / "gateway"), target="/run/harness"))
    # The pattern does not hold what it finds, so that a search does not find itself.
    search = r"""
        cat /proc/[0-9]*/environ /proc/[0-9]*/cmdline 2>/dev/null | tr '\0' '\n' | grep 'sk-[u]pst'
        env | grep 'sk-[u]pst'
        grep -rsI 'sk-[u]pst' /run /etc /tmp /var ~ /opt /srv /testbed /dev/shm
        find / -xdev -name .env -newer /proc/1 2>/dev/null | xargs -r grep 'sk-[u]pst'
        cat /run/harness/../.env
    """
    assert _KEY not in sandbox.exec(search, timeout=60).text
    control = sandbox.exec(search, timeout=60, env={"GIVEN": _KEY})
    assert _KEY in control.text


def test_files_of_the_host_s_root(run: Run) -> None:
    shadow = Path("/etc/shadow")
    host = shadow.read_text() if os.access(shadow, os.R_OK) else "root:of:the:host"
    assert run("cat /etc/shadow 2>/dev/null").text != host
    for path in (Path.home() / ".bashrc", Path(__file__), Path.cwd() / "pyproject.toml"):
        if path.is_file():
            assert run(f"cat '{path}' 2>/dev/null").text != path.read_text()
    for name in ("docker.sock", "containerd/containerd.sock", "systemd/private", "podman"):
        assert run(f"ls -d /run/{name} /var/run/{name} 2>/dev/null").text == ""


def test_a_link_in_the_patch_is_a_link(
    sandbox: Sandbox, run: Run, base: str, tmp_path: Path
) -> None:
    (tmp_path / "secret").write_text("of the host")
    run(f"""
        ln -s {tmp_path}/secret link; ln -s /etc/passwd passwd; ln -s /proc/self/environ environ
        ln -s /proc/self/root/{tmp_path} folder; ln -s / root
        rm -r package && ln -s /etc package; rm b.py && ln -s /etc/passwd b.py
    """)
    patch = sandbox.diff(base)
    assert "of the host" not in patch
    assert "root:x:0" not in patch
    assert "PATH=" not in patch
    assert patch.count("new file mode 120000") == 7
    for link in (f"{tmp_path}/secret", "/etc/passwd", "/proc/self/environ", "/etc", "/"):
        assert f"\n+{link}\n\\ No newline at end of file\n" in patch
    assert "deleted file mode 100644" in patch
    for path in ("link", "folder/secret", f"root{tmp_path}/secret"):
        with pytest.raises(FileNotFoundError):
            sandbox.read(f"/testbed/{path}")
    with pytest.raises(OSError, match="folder/new"):
        sandbox.write("/testbed/folder/new", b"x")
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == ["secret"]


def test_a_repository_that_points_elsewhere(
    sandbox: Sandbox, run: Run, base: str, tmp_path: Path
) -> None:
    """Objects, work trees and submodules of other repositories are those that it could read."""
    (tmp_path / "secret").write_text("of the host")
    run(f"""
        echo {tmp_path} > .git/objects/info/alternates
        git config core.worktree {tmp_path}
        git config include.path {tmp_path}/secret
        echo 'gitdir: {tmp_path}' > package/.git
        printf '[submodule "x"]\\n path = x\\n url = file://{tmp_path}\\n' > .gitmodules
        echo 'textconv=cat {tmp_path}/secret' > .git/info/attributes
        echo changed > b.py
    """)
    try:
        patch = sandbox.diff(base)
    except ValueError as error:
        patch = str(error)
    assert "of the host" not in patch


def _bombs() -> dict[str, str]:
    return {
        "forks": "bomb() { bomb | bomb & }; bomb; sleep 20",
        "threads": "exec python3 -c 'import threading, time\n"
        "while 1:\n try: threading.Thread(target=time.sleep, args=[9]).start()\n except: pass'",
        "memory": "for i in 1 2 3; do python3 -c 'x = bytearray(2 << 30)' & done; wait; sleep 2;"
        " while :; do tail /dev/zero; done",
        "shared memory": "while :; do head -c 1G /dev/zero > /dev/shm/$RANDOM; done",
        "descriptors": "exec python3 -c 'import os\nk = []\n"
        'while 1:\n try: k.append(os.open("/dev/null", 0))\n except OSError: pass\'',
        "sockets": "exec python3 -c 'import socket\nk = []\nwhile 1:\n try:\n"
        "  a, b = socket.socketpair(); a.setblocking(0); k.append((a, b)); a.send(bytes(100000))\n"
        " except OSError: pass'",
    }


@pytest.mark.parametrize("bomb", _bombs())
def test_neighbours_stay_healthy(start: Start, bomb: str) -> None:
    bad, neighbour = start(), start()
    ended: list[ExecResult] = []
    thread = threading.Thread(
        target=lambda: ended.append(bad.exec(_bombs()[bomb], timeout=6)), daemon=True
    )
    thread.start()
    rounds = 0
    while thread.is_alive():
        work = "for i in $(seq 20); do (echo $i > /tmp/$i && cat /tmp/$i) & done | wc -l; wait"
        assert neighbour.exec(work, timeout=60).text == "20\n"
        python = "import threading, os, socket; socket.socketpair(); os.openpty(); print('well')"
        result = neighbour.exec(["python3", "-c", python], timeout=60)
        assert result.text == "well\n"
        rounds += 1
    thread.join()
    assert rounds > 0
    assert ended[0].exit_code != 0
    assert bad.exec("echo again", timeout=60).text == "again\n"


def test_nothing_is_left_of_what_does_not_want_to_go(
    kind: Kind, seconds: int, running: Callable[[int], int], tmp_path: Path
) -> None:
    bound = tmp_path / "bound"
    bound.mkdir()
    before = kind.left(kind.owner)
    sandbox = kind.provider.start(
        kind.image,
        limits=Limits(memory_bytes=256 * MIB, pids=64),
        owner=kind.owner,
        binds=[Bind(source=str(bound), target="/opt/bound", writable=True)],
    )
    result = sandbox.exec(
        f"""
        python3 - <<'END'
import os, signal
for top in ("/testbed", "/tmp", "/opt/bound"):
    os.chdir(top)
    for _ in range(1200):
        os.mkdir("d" * 9); os.chdir("d" * 9)
    open("file", "w").close()
    os.chmod("file", 0); os.chmod(".", 0)
for name in ("\\n", "-rf", "*", "x" * 255, "\\udcff"):
    os.mkdir("/opt/bound/" + name); os.mkdir("/tmp/" + name)
os.chmod("/opt/bound", 0)
END
        chattr +i /testbed /tmp 2>/dev/null; chmod 0 /testbed /tmp
        keep() {{ trap '' HUP INT TERM QUIT USR1 PIPE; while :; do sleep {seconds}; done; }}
        for i in 1 2 3; do (setsid bash -c "$(declare -f keep); keep" >/dev/null 2>&1 &); done
        echo began; keep
        """,
        timeout=60,
        on_output=lambda _: True,
    )
    assert result.text.startswith("began"), result.text
    layer = sandbox._disk_place() if isinstance(sandbox, DockerSandbox) else None
    sandbox.close()
    assert running(seconds) == 0
    assert kind.left(kind.owner) == before
    assert layer is None or not layer.exists()
    assert bound.lstat().st_uid == os.getuid()
    assert not [
        line for line in Path("/proc/mounts").read_text().splitlines() if str(bound) in line
    ]
    bound.chmod(0o700)
    assert len(list(bound.iterdir())) == 6
    remove(bound)
