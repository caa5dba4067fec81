"""Process sandboxes: what only they have."""

import ast
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from harness.sandboxes.base import MIB, Bind, ImageMissingError, Limits, SandboxFailure
from harness.sandboxes.host import processes_with_argument
from harness.sandboxes.process import Mount, ProcessImage, ProcessProvider, ProcessSandbox
from harness.sandboxes.process_state import remove
from tests.conformance.sandbox_kinds import Kind, process_kind

pytestmark = pytest.mark.skipif(shutil.which("bwrap") is None, reason="bubblewrap is missing")
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives users to sandboxes")

LIMITS = Limits(memory_bytes=256 * MIB, pids=64)
Start = Callable[..., ProcessSandbox]


@pytest.fixture
def kind(tmp_path: Path) -> Kind:
    return process_kind(tmp_path)


@pytest.fixture
def start(kind: Kind) -> Start:
    """Starts a sandbox of the image with more mounts and environment."""

    def start(
        *mounts: tuple[Path, str, str],
        limits: Limits = LIMITS,
        network: bool = False,
        binds: Sequence[Bind] = (),
        **env: str,
    ) -> ProcessSandbox:
        folder = Path(kind.image)
        image = ProcessImage(
            digest="sha256:" + "0" * 64,
            mounts=(
                Mount(source="testbed", target="/testbed", mode="copy"),
                *(
                    Mount.model_validate({"source": str(source), "target": target, "mode": mode})
                    for source, target, mode in mounts
                ),
            ),
            env=env,
        )
        image.save(folder)
        sandbox = kind.provider.start(
            kind.image, limits=limits, owner="test", network=network, binds=binds
        )
        assert isinstance(sandbox, ProcessSandbox)
        return sandbox

    return start


def _tree(folder: Path) -> Path:
    (folder / "sub").mkdir(parents=True)
    (folder / "sub" / "file").write_text("of the image\n")
    (folder / "link").symlink_to("sub/file")
    (folder / "tool").write_text("#!/bin/sh\necho tool\n")
    (folder / "tool").chmod(0o755)
    return folder


def test_modes_of_mounts(start: Start, tmp_path: Path) -> None:
    trees = {mode: _tree(tmp_path / mode) for mode in ("ro", "copy", "rw")}
    mounts = [(tree, f"/opt/{mode}", mode) for mode, tree in trees.items()]
    with start(*mounts) as sandbox:
        for mode in trees:
            read = f"/opt/{mode}/tool; cat /opt/{mode}/link"
            assert sandbox.exec(read, timeout=30).text == "tool\nof the image\n"
            change = f"cd /opt/{mode} && echo mine > sub/file && echo mine > new && rm tool"
            assert (sandbox.exec(change, timeout=30).exit_code == 0) is (mode != "ro")
    for mode in ("ro", "copy"):
        assert (trees[mode] / "sub/file").read_text() == "of the image\n"
        assert not (trees[mode] / "new").exists()
    assert (trees["rw"] / "sub/file").read_text() == "mine\n"
    assert sorted(path.name for path in trees["rw"].iterdir()) == ["link", "new", "sub"]
    for path in (trees["rw"], *trees["rw"].rglob("*")):
        assert (path.lstat().st_uid, path.lstat().st_gid) == (os.getuid(), os.getgid())


def test_a_mount_inside_a_read_only_one(start: Start, tmp_path: Path) -> None:
    outer, inner = _tree(tmp_path / "outer"), _tree(tmp_path / "inner")
    with start((outer, "/opt/outer", "ro"), (inner, "/opt/outer/sub", "copy")) as sandbox:
        result = sandbox.exec("touch /opt/outer/sub/new; ls /opt/outer/sub", timeout=30)
    assert result.text.split() == ["link", "new", "sub", "tool"]


def test_a_mount_that_is_missing(start: Start, kind: Kind, tmp_path: Path) -> None:
    with pytest.raises(ImageMissingError, match="gone"):
        start((tmp_path / "gone", "/opt/gone", "ro"))
    assert kind.left("test") == []


@pytest.mark.parametrize(
    ("targets", "why"),
    [
        (["/testbed/x"], "inside /testbed"),
        (["/testbed"], "inside /testbed"),
        (["/tmp/x"], "inside /tmp"),
        (["/var/tmp/x"], "inside /var/tmp"),
        (["/home/sandbox/x"], "inside /home/sandbox"),
        (["/opt/writable", "/opt/writable/x"], "inside /opt/writable"),
        (["/opt/x", "/opt/writable", "/opt/writable"], "inside /opt/writable"),
        (["/proc/x"], "belongs to the system"),
        (["/usr/bin"], "belongs to the system"),
        (["/opt/../usr"], "without detours"),
    ],
)
def test_a_bind_in_a_place_that_commands_could_move(
    start: Start, kind: Kind, tmp_path: Path, targets: list[str], why: str
) -> None:
    binds = [
        Bind(source=str(tmp_path), target=target, writable="writable" in target)
        for target in targets
    ]
    with pytest.raises(SandboxFailure, match=why):
        start(binds=binds)
    assert kind.left("test") == []


def test_a_bind_inside_what_the_image_has(start: Start, tmp_path: Path) -> None:
    tree = _tree(tmp_path / "tree")
    bind = Bind(source=str(_tree(tmp_path / "other") / "tool"), target="/opt/tree/sub/file")
    with start((tree, "/opt/tree", "ro"), binds=[bind]) as sandbox:
        assert sandbox.exec("cat /opt/tree/sub/file", timeout=30).text.startswith("#!/bin/sh")


def test_the_environment_of_the_image(start: Start) -> None:
    with start(A="image", B="image") as sandbox:
        result = sandbox.exec("echo $A $B $HOME", timeout=30, env={"B": "call"})
    assert result.text == "image call /home/sandbox\n"


def test_nothing_of_the_sandbox_runs_before_the_rights_are_gone(start: Start) -> None:
    fakes = "bwrap choom prlimit setpriv taskset env bash"
    limits = LIMITS.model_copy(update={"cpus": 1.0})
    path = "/testbed/bin:/usr/bin:/bin"
    with start(limits=limits, PATH=path, LD_PRELOAD="/testbed/bin/evil.so") as sandbox:
        sandbox.write(
            "/testbed/fake", b"#!/bin/sh\ngrep -E 'Uid|CapEff' /proc/self/status\n", mode=0o755
        )
        sandbox.exec(
            f"mkdir bin; for f in {fakes}; do cp fake bin/$f; done; touch bin/evil.so",
            timeout=30,
            env={"PATH": "/usr/bin", "LD_PRELOAD": ""},
        )
        result = sandbox.exec(["bash", "-c", "true"], timeout=30).text
    status = dict(line.split(":\t") for line in result.splitlines() if ":\t" in line)
    assert set(status) == {"Uid", "CapEff"}  # only the fake bash ran
    assert int(status["CapEff"], 16) == 0
    assert "0" not in status["Uid"].split()


@needs_root
def test_every_sandbox_has_a_user_of_its_own(start: Start) -> None:
    with start() as one, start() as other:
        users = {sandbox.exec("id -u", timeout=30).text for sandbox in (one, other)}
        assert len(users) == 2
        assert all(70_000 <= int(user) < 100_000 for user in users)
        assert one.exec("id -un; id -Gn; touch a; stat -c %U a", timeout=9).text.split() == (
            ["sandbox"] * 3
        )


@needs_root
def test_files_of_root_in_what_is_bound_stay_closed(start: Start, tmp_path: Path) -> None:
    tree = _tree(tmp_path / "tree")
    (tree / "private").write_text("secret")
    (tree / "private").chmod(0o600)
    with start((tree, "/opt/tree", "ro")) as sandbox:
        assert sandbox.exec("cat /opt/tree/private", timeout=30).exit_code != 0
        assert sandbox.exec("cat /etc/shadow", timeout=30).exit_code != 0


def test_the_view_is_minimal(start: Start) -> None:
    with start() as sandbox:
        names = sandbox.exec("ls /", timeout=30).text.split()
        etc = sandbox.exec("ls /etc", timeout=30).text.split()
        writable = sandbox.exec(
            "find / -xdev -writable -not -type l 2>/dev/null", timeout=60
        ).text.split()
    root = Path(sys.base_prefix).parts[1]
    assert set(names) <= {
        *("bin", "dev", "etc", "home", "lib", "lib32", "lib64", "libx32", "proc", "sbin"),
        *("testbed", "tmp", "usr", "var", root),
    }
    assert set(etc) <= {
        *("alternatives", "group", "hosts", "ld.so.cache", "localtime", "nsswitch.conf"),
        *("passwd", "protocols", "services"),
    }
    assert set(writable) == {"/tmp", "/home/sandbox", "/testbed"}


def test_the_harness_s_python_is_there(start: Start) -> None:
    with start() as sandbox:
        python = Path(sys.base_prefix, "bin", f"python3.{sys.version_info.minor}")
        result = sandbox.exec([str(python), "-c", "import sys; print(sys.prefix)"], timeout=30)
    assert result.text.strip() == sys.base_prefix


def test_system_calls_that_lead_out_are_refused(start: Start) -> None:
    code = """
import ctypes, errno, platform, subprocess, threading
libc = ctypes.CDLL(None, use_errno=True)
numbers = {"x86_64": [250, 272, 308, 321, 298, 323, 425, 435, 0x40000000],
           "aarch64": [219, 97, 268, 280, 241, 282, 425, 435]}[platform.machine()]
for number in numbers:
    ctypes.set_errno(0)
    result = libc.syscall(number, 0x10000000, 0, 0, 0, 0)
    print(result, errno.errorcode.get(ctypes.get_errno()))
thread = threading.Thread(target=lambda: print("thread"))
thread.start(); thread.join()
subprocess.run(["echo", "process"])
"""
    with start() as sandbox:
        lines = sandbox.exec("python3 -u -", timeout=30, stdin=code.encode()).text.splitlines()
    assert lines[:7] == ["-1 EPERM"] * 7
    assert set(lines[7:-2]) == {"-1 ENOSYS"}
    assert lines[-2:] == ["thread", "process"]


@pytest.mark.parametrize(("cpus", "cores"), [(0.5, 1), (1.0, 1), (None, None), (999.0, None)])
def test_whole_cores(start: Start, cpus: float | None, cores: int | None) -> None:
    with start(limits=LIMITS.model_copy(update={"cpus": cpus})) as sandbox:
        count = int(sandbox.exec("nproc", timeout=30).text)
    assert count == (cores or len(os.sched_getaffinity(0)))


def test_shared_memory_and_file_sizes_have_limits(start: Start) -> None:
    with start() as sandbox:
        for command in ("head -c 40M /dev/zero > /dev/shm/x", "truncate -s 5G /tmp/x"):
            assert sandbox.exec(command, timeout=30).exit_code != 0
        assert sandbox.exec("head -c 30M /dev/zero > /dev/shm/x", timeout=30).exit_code == 0


def test_with_a_network(start: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, start(network=True) as sandbox:
        connect = f"exec 3<>/dev/tcp/127.0.0.1/{server.getsockname()[1]}"
        assert sandbox.exec(connect, timeout=30).exit_code == 0
        assert sandbox.exec("ls /etc/ssl/certs /etc/resolv.conf", timeout=30).exit_code == (
            0 if Path("/etc/ssl/certs").exists() and Path("/etc/resolv.conf").exists() else 2
        )


def test_hostile_trees_are_removed(start: Start, kind: Kind) -> None:
    code = """
import os
for _ in range(1200):
    os.mkdir("d"); os.chdir("d")
open("file", "w").close()
os.chmod(".", 0)
os.chdir("/testbed"); os.mkdir("closed"); open("closed/file", "w").close(); os.chmod("closed", 0)
os.chmod("/testbed", 0)
"""
    with start() as sandbox:
        assert sandbox.exec("python3 -", timeout=60, stdin=code.encode()).exit_code == 0
    assert kind.left("test") == []


def test_cleanup_leaves_what_is_not_its_own(kind: Kind) -> None:
    assert kind.state is not None
    foreign = [kind.state / name for name in ("notes", ".new")]
    for path in foreign:
        path.mkdir()
    dead = kind.state / "test+x"
    dead.mkdir()
    assert kind.provider.cleanup() == 1
    assert sorted(kind.state.iterdir()) == sorted(foreign)


@pytest.mark.parametrize("as_pid_1", [[], ["--as-pid-1"]])
def test_cleanup_ends_what_survived_its_harness(kind: Kind, as_pid_1: list[str]) -> None:
    assert kind.state is not None
    dead = kind.state / "test+x"
    dead.mkdir()
    bind = ["--ro-bind", "/", "/", "--bind", str(dead), "/tmp", "--unshare-pid"]
    seconds = f"86399.{os.getpid()}"
    survivor = subprocess.Popen(["bwrap", *bind, *as_pid_1, "sleep", seconds])
    while not list(processes_with_argument("sleep", seconds)):
        time.sleep(0.01)
    if as_pid_1:
        survivor.kill()
        survivor.wait()
    assert kind.provider.cleanup("test") == 1
    assert survivor.wait(30) == -signal.SIGKILL
    assert list(processes_with_argument("sleep", seconds)) == []


@needs_root
def test_no_zombies_where_the_harness_is_the_first_process(kind: Kind, tmp_path: Path) -> None:
    code = f"""
import os
from pathlib import Path
from harness.sandboxes.base import Limits
from harness.sandboxes.process import ProcessProvider
with ProcessProvider(Path({str(tmp_path / "state")!r})).start(
    {kind.image!r}, limits=Limits(), owner="first"
) as sandbox:
    for command in ("true", "setsid -f sleep 60", "sleep 60"):
        sandbox.exec(command, timeout=1)
print(os.getpid(), [name for name in os.listdir("/proc") if name.isdigit()])
"""
    first = ["unshare", "--pid", "--fork", "--mount-proc", sys.executable, "-c", code]
    done = subprocess.run(first, capture_output=True, text=True)
    assert done.stdout == "1 ['1']\n", done.stderr


def test_the_state_folder_is_closed_to_others(start: Start, kind: Kind) -> None:
    with start():
        assert kind.state is not None
        (folder,) = kind.state.glob("test+*")
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_bubblewrap_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SandboxFailure, match="apt-get install bubblewrap"):
        ProcessProvider(tmp_path)


def test_bubblewrap_that_cannot_work(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    broken = tmp_path / "bwrap"
    broken.write_text("#!/bin/sh\necho 'bwrap: No permissions to create new namespace'\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(SandboxFailure, match="No permissions to create new namespace"):
        ProcessProvider(tmp_path / "state")
    assert list((tmp_path / "state").iterdir()) == []


@needs_root
@pytest.mark.slow
def test_the_contract_holds_without_root(tmp_path_factory: pytest.TempPathFactory) -> None:
    """The sandboxes' conformance suite once more, as a user without rights."""
    home = Path("/tmp", f"harness-test-{os.getpid()}")
    user = ["setpriv", "--reuid=12345", "--regid=12345", "--clear-groups", "--inh-caps=-all"]
    packages = Path(pytest.__file__).parents[1]
    python = [*user, "env", "-i", f"HOME={home}", f"PATH={os.environ['PATH']}"]
    python += [f"PYTHONPATH={packages}:{Path.cwd()}", "PYTHONDONTWRITEBYTECODE=1"]
    python += ["/usr/bin/python3", "-m"]
    home.mkdir()
    try:
        shutil.chown(home, 12345, 12345)
        able = subprocess.run([*user, "unshare", "--user", "true"], capture_output=True)
        if able.returncode:
            pytest.skip(f"no user namespaces: {able.stderr.decode()}")
        if subprocess.run([*python, "pytest", "--version"], capture_output=True).returncode:
            pytest.skip("no Python that another user can run pytest with")
        suites = sorted(str(path) for path in Path("tests/conformance").glob("test_sandbox*.py"))
        options = [*suites, "tests/sandboxes", "-m", "not docker and not slow"]
        options += ["-p", "no:cacheprovider", f"--basetemp={home}/tests"]
        done = subprocess.run([*python, "pytest", *options], capture_output=True, text=True)
    finally:
        remove(home)
    assert done.returncode == 0, done.stdout
    assert " passed" in done.stdout


def test_packages_installed_on_the_host_are_not_seen(start: Start) -> None:
    """One of them may be a fixed version of what an instance is about."""
    with start() as sandbox:
        own = [sys.base_prefix + "/bin/python3", "-c", "import site; print(site.getsitepackages())"]
        for folder in ast.literal_eval(sandbox.exec(own, timeout=30).text):
            seen = sandbox.exec(["ls", "-A", folder], timeout=30)
            assert seen.exit_code == 2 or seen.output == b""
            assert sandbox.exec(["touch", f"{folder}/x"], timeout=30).exit_code
