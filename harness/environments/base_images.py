"""Base images: a Debian release with the layout that evaluation scripts expect.

No registry is asked: the release is bootstrapped from a Debian mirror, packed once into a cached
archive and imported.
"""

import hashlib
import json
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from harness.environments.errors import ImageError
from harness.environments.host_access import debian_mirror

if TYPE_CHECKING:
    from docker.client import DockerClient

PREFIX = "/opt/miniconda3"
LABEL = "swe-harness."
OWN_NAMES = "swe-harness/"

_RELEASES = {"3.9": "bullseye", "3.11": "bookworm", "3.13": "trixie"}
_PACKAGES = ("ca-certificates", "git", "patch", "procps", "python3", "python3-venv")
_LAYOUT = {
    "activate": f"{PREFIX}/bin/activate",
    "conda.sh": f"{PREFIX}/etc/profile.d/conda.sh",
    "pip.conf": f"{PREFIX}/envs/testbed/pip.conf",
    "bashrc": "/root/.bashrc",
}
_PATH = (
    f"{PREFIX}/envs/testbed/bin:{PREFIX}/bin"
    ":/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
)
_TRACES = (
    "etc/hostname",
    "etc/resolv.conf",
    "etc/machine-id",
    "var/lib/apt/lists/*",
    "var/cache/apt/*",
    "var/cache/ldconfig/*",
    "var/log/*",
    "usr/share/locale/*",
    "usr/share/man/*",
    "tmp/*",
)


def release_for(python: str, image: str) -> str:
    """The Debian release whose own Python has that version.

    Raises ImageError, naming the upstream image to pull instead, when there is none.
    """
    try:
        return _RELEASES[python]
    except KeyError:
        raise ImageError(
            f"no Debian release here has Python {python} (there are {', '.join(_RELEASES)}); "
            f"pull the upstream image instead: docker pull {image}"
        ) from None


def layout_digest() -> str:
    """`sha256:` of everything in a base image that is not Debian's."""
    content = {target: _layout_file(name) for name, target in _LAYOUT.items()}
    described = json.dumps([content, _PACKAGES, _PATH])
    return "sha256:" + hashlib.sha256(described.encode()).hexdigest()


def base_image(
    client: "DockerClient",
    release: str,
    *,
    cache: Path,
    on_progress: Callable[[str], None],
) -> str:
    """The name of a release's base image, made first when the engine does not have it.

    The archive it is imported from stays in `cache`. Raises ImageError when the release cannot be
    bootstrapped.
    """
    from docker.errors import ImageNotFound

    layout = layout_digest().removeprefix("sha256:")[:12]
    name = f"{OWN_NAMES}base.{release}:{layout}"
    try:
        client.images.get(name)
    except ImageNotFound:
        archive = cache / "debian" / f"{release}-{layout}.tar.gz"
        facts = archive.with_suffix(".json")
        if not (archive.is_file() and facts.is_file()):
            on_progress(f"base image: bootstrapping Debian {release} (about two minutes)")
            _bootstrap(release, archive, facts)
        on_progress(f"base image: importing Debian {release}")
        _import(client, name, archive, json.loads(facts.read_text()))
    return name


def _bootstrap(release: str, archive: Path, facts: Path) -> None:
    if shutil.which("debootstrap") is None:
        raise ImageError("debootstrap is missing: apt-get install debootstrap (and run as root)")
    archive.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=archive.parent, prefix="bootstrap-") as folder:
        root = Path(folder, "root")
        packages = "--include=" + ",".join(_PACKAGES)
        mirror = debian_mirror()
        command = ["debootstrap", "--variant=minbase", packages, release, str(root)]
        _command([*command, mirror] if mirror else command)
        signed = next(root.glob("var/lib/apt/lists/*_InRelease")).read_bytes()
        _lay_out(root)
        packed = Path(folder, archive.name)
        _command(
            ["tar", "--numeric-owner", "--sort=name", "-C", str(root), "-czf", str(packed), "."]
        )
        date = next(line for line in signed.decode().splitlines() if line.startswith("Date: "))
        found = {
            "debian.release": release,
            "debian.date": date.removeprefix("Date: "),
            "debian.release-file": "sha256:" + hashlib.sha256(signed).hexdigest(),
            "base.archive": "sha256:" + _sha256(packed),
            "base.layout": layout_digest(),
        }
        packed.rename(archive)
        facts.write_text(json.dumps(found, indent=2) + "\n")


def _lay_out(root: Path) -> None:
    """Turn a bootstrapped release into the base image's file system."""
    _command(["chroot", str(root), "python3", "-m", "venv", f"{PREFIX}/envs/testbed"])
    for name, target in _LAYOUT.items():
        path = root / target.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(_layout_file(name))
    (root / "testbed").mkdir()
    (root / PREFIX.lstrip("/") / "bin" / "python").symlink_to("/usr/bin/python3")
    if debian_mirror():
        (root / "etc/apt/sources.list").write_text("")  # no mirror of this machine stays
    for pattern in _TRACES:
        for path in root.glob(pattern):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
    (root / "etc/machine-id").touch()


def _import(client: "DockerClient", name: str, archive: Path, facts: dict[str, str]) -> None:
    repository, _, tag = name.rpartition(":")
    changes = [f'ENV "PATH"="{_PATH}"', "WORKDIR /testbed", 'CMD ["/bin/bash"]']
    changes += [f'LABEL "{LABEL}{key}"="{value}"' for key, value in facts.items()]
    client.api.import_image(str(archive), repository=repository, tag=tag, changes=changes)


def _layout_file(name: str) -> str:
    return resources.files("harness.environments").joinpath("layout", name).read_text()


def _command(command: list[str]) -> None:
    try:
        subprocess.run(command, check=True, capture_output=True, stdin=subprocess.DEVNULL)
    except subprocess.CalledProcessError as error:
        output = (error.stdout + error.stderr).decode(errors="replace")
        raise ImageError(
            f"{command[0]} failed (exit {error.returncode}): {output[-2000:].strip()}"
        ) from None


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
