"""The work tree of an instance whose source is a pinned source distribution."""

import hashlib
import os
import subprocess
import tarfile
import tempfile
from pathlib import Path, PurePosixPath

from harness.environments.errors import ImageError
from harness.environments.package_index import PackageIndexError, download_sdist
from harness.environments.recipe import Recipe, Sdist
from harness.environments.repository import BRANCH
from harness.records import Instance

_MAX_FILES = 20_000
_MAX_BYTES = 512 * 1024 * 1024
_WHO = "swe-harness"
_WHEN = "2025-01-01T00:00:00+00:00"
# Over any .gitattributes of the tree: no conversion changes a byte of a file.
_ATTRIBUTES = "* -text -eol -ident -filter -working-tree-encoding\n"


class SourceError(ImageError):
    """The source of an instance cannot be had, or is not what its row says."""


def fetch_sdist(sdist: Sdist, cache: Path) -> Path:
    """The pinned archive, from the cache or the package index that pip is configured to use.

    Raises SourceError when neither has it, or has other bytes than the pinned ones.
    """
    path = cache / "sdists" / f"{sdist.name}-{sdist.version}-{sdist.sha256[:16]}.tar.gz"
    if path.is_file() and _sha256(path) == sdist.sha256:
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        try:
            found = download_sdist(sdist, Path(folder))
        except PackageIndexError as error:
            raise SourceError(f"{sdist.name} {sdist.version}: {error}") from None
        digest = _sha256(found)
        if digest != sdist.sha256:
            raise SourceError(
                f"{sdist.name} {sdist.version}: the index serves sha256 {digest}, "
                f"the recipe pins {sdist.sha256}"
            )
        found.replace(path)
    return path


def unpack_sdist(archive: Path, destination: Path) -> None:
    """Unpack the tree of a source distribution: plain files, without its build leftovers.

    Raises SourceError for an archive with links, devices, paths that lead outside, more than one
    top folder, or an unreasonable size.
    """
    total = 0
    tops = set()
    try:
        with tarfile.open(archive, "r:gz") as tar:
            for number, member in enumerate(tar, start=1):
                path = PurePosixPath(member.name)
                total += member.size
                if path.is_absolute() or ".." in path.parts or not path.parts:
                    raise SourceError(f"{archive.name}: member {member.name!r} leads outside")
                if number > _MAX_FILES or total > _MAX_BYTES:
                    raise SourceError(f"{archive.name}: over {_MAX_FILES} files or {_MAX_BYTES} B")
                tops.add(path.parts[0])
                inner = path.parts[1:]
                if member.isdir() or _left_out(inner):
                    continue
                content = tar.extractfile(member) if member.isfile() else None
                if content is None or not inner:
                    raise SourceError(f"{archive.name}: {member.name!r} is no plain file")
                target = destination.joinpath(*inner)
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(content.read())
                target.chmod(0o755 if member.mode & 0o100 else 0o644)
    except (tarfile.TarError, OSError, EOFError) as error:
        raise SourceError(f"{archive}: {error}") from None
    if len(tops) != 1:
        raise SourceError(f"{archive.name}: expected one top folder, found {len(tops)}")


def _left_out(parts: tuple[str, ...]) -> bool:
    return any(part == ".git" or part.endswith(".egg-info") for part in parts)


def materialise(instance: Instance, recipe: Recipe, cache: Path, destination: Path) -> None:
    """Make `destination` the git work tree of an instance at its base commit.

    The base commit is the pinned archive's tree with the test patch and the gold patch reverted,
    committed with fixed author, date and message: every machine gets the same commit id.
    Raises SourceError when the archive cannot be had, a patch does not revert, or the commit is
    another than the row's.
    """
    if recipe.sdist is None:
        raise SourceError(
            f"{instance.instance_id}: the recipe of {recipe.repo} {recipe.version} has no sdist"
        )
    commit = commit_base(
        fetch_sdist(recipe.sdist, cache),
        destination,
        {"test_patch": instance.test_patch, "patch": instance.patch},
        message=f"{recipe.repo} {recipe.version}",
    )
    if commit != instance.base_commit:
        raise SourceError(
            f"{instance.instance_id}: the tree of {recipe.sdist.name} {recipe.sdist.version} "
            f"without the row's patches is commit {commit}, the row says {instance.base_commit}"
        )


def commit_base(archive: Path, destination: Path, reverted: dict[str, str], *, message: str) -> str:
    """Commit an archive's tree with named patches reverted, in order; return the commit id.

    Raises SourceError naming the patch that does not revert.
    """
    destination.mkdir(parents=True, exist_ok=True)
    unpack_sdist(archive, destination)
    _git(destination, "init", "-q", "--template=", "--object-format=sha1", "-b", BRANCH)
    info = destination / ".git" / "info"
    info.mkdir(exist_ok=True)
    (info / "attributes").write_text(_ATTRIBUTES)
    for name, patch in reverted.items():
        try:
            _git(destination, "apply", "-R", "--whitespace=nowarn", "-", stdin=patch)
        except SourceError as error:
            raise SourceError(f"{name} cannot be reverted in {archive.name}: {error}") from None
    _git(destination, "add", "--all", "--force")
    _git(destination, "commit", "-q", "--no-verify", "--no-gpg-sign", "-m", message)
    (destination / ".git" / "COMMIT_EDITMSG").unlink()
    return _git(destination, "rev-parse", "HEAD").strip()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _git(tree: Path, *arguments: str, stdin: str = "") -> str:
    """Run git without the user's and the machine's configuration."""
    env = {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": os.devnull,
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CEILING_DIRECTORIES": str(tree.resolve().parent),
        **{f"GIT_{role}_NAME": _WHO for role in ("AUTHOR", "COMMITTER")},
        **{f"GIT_{role}_EMAIL": "" for role in ("AUTHOR", "COMMITTER")},
        **{f"GIT_{role}_DATE": _WHEN for role in ("AUTHOR", "COMMITTER")},
    }
    result = subprocess.run(
        ["git", "-c", "core.logAllRefUpdates=false", *arguments],
        cwd=tree,
        env=env,
        input=stdin.encode(),
        capture_output=True,
    )
    if result.returncode != 0:
        message = result.stderr.decode(errors="replace").strip()
        raise SourceError(f"git {arguments[0]}: {message}")
    return result.stdout.decode()
