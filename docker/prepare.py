"""Prepare a machine for `docker compose up` where the plain way does not work: no registry to pull
the base image from, a package index or certificates of its own, an engine at another socket.

It leaves, each only when there is need:
  .env                   from .env.example, with BASE and DOCKER_SOCKET
  docker/harness/host/   pip's settings and certificates; a wheel that only this machine has
  an image               Debian with Python 3.11, made with debootstrap
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from urllib.parse import urlsplit

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from harness.environments.host_access import debian_mirror, host_access  # noqa: E402

HOST = ROOT / "docker" / "harness" / "host"
LOCAL_BASE = "swe-harness-compose/base:bookworm"
PACKAGES = "ca-certificates,git,python3,python3-venv"
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "swe-harness")
DEFAULT_SOCKET = "unix:///var/run/docker.sock"


def main() -> None:
    """Do what is needed and say what was done. Exits with a message when it cannot be done."""
    write_host_access(HOST)
    fetch_torch(HOST / "wheels", setting("TORCH") or "torch==2.13.0")
    env = ROOT / ".env"
    if not env.exists():
        shutil.copyfile(ROOT / ".env.example", env)
    engine = os.environ.get("DOCKER_HOST", DEFAULT_SOCKET)
    if not engine.startswith("unix://"):
        sys.exit(f"DOCKER_HOST is {engine}: the harness needs an engine with a Unix socket")
    if engine != DEFAULT_SOCKET:
        set_default(env, "DOCKER_SOCKET", engine.removeprefix("unix://"))
    base = setting("BASE") or pinned_base()
    if base != LOCAL_BASE and not (has_image(base) or pulls(base)):
        print(f"{base} cannot be pulled: making {LOCAL_BASE} instead")
        base = LOCAL_BASE
        set_default(env, "BASE", base)
    if base == LOCAL_BASE and not has_image(base):
        import_base()
    print("ready: docker compose up")


def write_host_access(folder: Path) -> None:
    """Files that give image builds this machine's access to package indexes.

    Exits when the index's address holds a password: builds would keep it in their cache.
    """
    access = host_access()
    text = access.files["pip.conf"].decode()
    index = re.search(r"^index-url = (\S+)$", text, re.MULTILINE)
    for url in re.findall(r"https?://\S+", text):
        if urlsplit(url).username or urlsplit(url).password:
            sys.exit(
                f"pip's configuration has a password for {urlsplit(url).hostname}: an image build "
                "must not see it; name an index without one, as PIP_INDEX_URL=…"
            )
    if os.environ.keys() & {"HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"}:
        print("proxies are left to Docker: set them in ~/.docker/config.json")
    env = {name: value for name, value in access.env.items() if "proxy" not in name.lower()}
    if index:
        env["UV_DEFAULT_INDEX"] = index[1]
    for name, data in access.files.items():
        (folder / name).write_bytes(data)
    lines = [f"{name}='{value}'\n" for name, value in sorted(env.items())]
    (folder / "env").write_text("".join(lines))


def fetch_torch(folder: Path, requirement: str) -> None:
    """Bring along the wheel of torch when pip takes it from a folder of this machine."""
    configured = run("python3", "-m", "pip", "config", "list")
    local = re.search(r"find[_-]links|file://", configured + str(os.environ.get("PIP_FIND_LINKS")))
    if not local or any(folder.glob("torch-*.whl")):
        return
    platform = ["--python-version=3.11", "--implementation=cp", "--only-binary=:all:"]
    options = ["--quiet", "--no-deps", f"--dest={folder}", *platform]
    run("python3", "-m", "pip", "download", *options, requirement)


def import_base() -> None:
    """Make the base image from a cached archive, or from a fresh bootstrap."""
    archive = next((CACHE / "debian").glob("bookworm-*.tar.gz"), None)
    if archive is not None:
        run("docker", "import", str(archive), LOCAL_BASE)
        return
    if shutil.which("debootstrap") is None or os.geteuid() != 0:
        sys.exit("debootstrap is missing (apt-get install debootstrap), or this is not root")
    with tempfile.TemporaryDirectory(prefix="swe-harness-base-") as folder:
        root = str(Path(folder, "root"))
        options = ["--variant=minbase", f"--include={PACKAGES}", "bookworm", root]
        mirror = debian_mirror()
        print("bootstrapping Debian bookworm (about two minutes)", flush=True)
        run("debootstrap", *options, *([mirror] if mirror else []))
        for left in ("var/lib/apt/lists", "usr/share/locale", "usr/share/man"):
            shutil.rmtree(Path(root, left))
        run("chroot", root, "apt-get", "clean")
        packed = f"{folder}/root.tar"
        run("tar", "--numeric-owner", "-C", root, "-cf", packed, ".")
        run("docker", "import", packed, LOCAL_BASE)


def pinned_base() -> str:
    """The base image that the Dockerfile names."""
    text = (ROOT / "docker" / "harness" / "Dockerfile").read_text()
    return text.partition("ARG BASE=")[2].partition("\n")[0]


def setting(name: str) -> str:
    """A setting from the environment or .env; empty when there is none."""
    env = ROOT / ".env"
    lines = env.read_text().splitlines() if env.exists() else []
    stated = dict(line.split("=", 1) for line in lines if re.match(r"\w+=", line))
    return os.environ.get(name) or stated.get(name, "")


def set_default(env: Path, name: str, value: str) -> None:
    """Add a setting that is not stated."""
    if not setting(name):
        with env.open("a") as file:
            file.write(f"{name}={value}\n")


def has_image(name: str) -> bool:
    """Whether the engine has an image."""
    return _succeeds("docker", "image", "inspect", name)


def pulls(name: str) -> bool:
    """Whether the engine can pull an image, which it then has."""
    return _succeeds("docker", "pull", "--quiet", name)


def run(*command: str) -> str:
    """A command's output. Exits with its last words when it fails."""
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command[:3])} failed:\n{(done.stdout + done.stderr)[-2000:].strip()}")
    return done.stdout


def _succeeds(*command: str) -> bool:
    return subprocess.run(command, capture_output=True).returncode == 0


if __name__ == "__main__":
    main()
