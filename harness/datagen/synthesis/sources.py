"""Where a package's tree comes from: a source distribution, or a commit of a git repository.

Both become an archive pinned by hash in the cache, so that all that follows knows one kind.
"""

import hashlib
import re
import shutil
import tarfile
import tempfile
from pathlib import Path

from packaging.metadata import RawMetadata, parse_email
from packaging.utils import InvalidSdistFilename, canonicalize_name, parse_sdist_filename
from packaging.version import InvalidVersion

from harness.datagen.synthesis.git import archive_commit, mirror_of, split_revision
from harness.environments.errors import ImageError
from harness.environments.package_index import PackageIndexError, find_release
from harness.environments.recipe import Sdist
from harness.environments.source import fetch_sdist
from harness.records import Record

_PINNED = re.compile(
    r"(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)==(?P<version>[\w.+!]+)"
    r"( sha256:(?P<sha256>[0-9a-f]{64}))?"
)
_GITHUB = re.compile(r"https?://(?:www\.)?github\.com/([\w.-]+)/([\w.-]+?)(?:\.git)?/?(?:[#?/].*)?")
_NOT_A_REPOSITORY = {"sponsors", "orgs", "users", "apps"}
_LARGEST_METADATA = 4 << 20


class Source(Record):
    """A package's tree, as a pinned archive that is in the cache.

    repo: owner and name, by the package's own metadata; `pypi/NAME` where that names none.
    metadata: the headers of PKG-INFO, empty without one. mirror, commit: of a git repository.
    """

    given: str
    repo: str
    version: str
    archive: Sdist
    metadata: str = ""
    mirror: Path | None = None
    commit: str | None = None

    @property
    def headers(self) -> RawMetadata:
        """The core metadata that the archive brings along."""
        return parse_email(self.metadata)[0]

    @property
    def slug(self) -> str:
        """A name for files."""
        return f"{self.repo.replace('/', '__')}-{self.version}"


def find_source(given: str, cache: Path) -> Source:
    """The source that a text names, in the cache afterwards.

    given: `NAME==VERSION`, also with ` sha256:…`; a source distribution's file (`.tar.gz`); a
    folder with a git repository; the URL of one, also with `@REVISION`.
    Raises ImageError.
    """
    path = Path(given)
    if match := _PINNED.fullmatch(given):
        return _released(given, match, cache)
    if given.endswith(".tar.gz") and path.is_file():
        return _archived(given, path, cache)
    if "://" in given or Path(split_revision(given)[0]).is_dir():
        return _of_git(given, cache)
    raise ImageError(
        f"{given}: no source; give NAME==VERSION, a source distribution (.tar.gz), or a git "
        "repository's folder or URL"
    )


def _released(given: str, match: re.Match[str], cache: Path) -> Source:
    name, version, sha256 = match["name"], match["version"], match["sha256"]
    if sha256:
        sdist = Sdist(name=name, version=version, sha256=sha256)
    else:
        try:
            sdist = find_release(name, version)
        except PackageIndexError as error:
            raise ImageError(f"{given}: {error}") from None
        if sdist.version != version:
            raise ImageError(f"{given}: the index has {sdist.version}; name a version in full")
    return _with_metadata(given, sdist, fetch_sdist(sdist, cache))


def _archived(given: str, path: Path, cache: Path) -> Source:
    try:
        name, version = parse_sdist_filename(path.name)
    except (InvalidSdistFilename, InvalidVersion) as error:
        raise ImageError(f"{given}: expected NAME-VERSION.tar.gz: {error}") from None
    sdist = Sdist(name=name, version=str(version), sha256=_sha256(path))
    return _with_metadata(given, sdist, _keep(path, sdist, cache))


def _of_git(given: str, cache: Path) -> Source:
    mirror = mirror_of(given, cache)
    name = canonicalize_name(mirror.name or "repository")
    with tempfile.TemporaryDirectory() as folder:
        archive = Path(folder, "tree.tar.gz")
        archive_commit(mirror.path, mirror.commit, name, archive)
        sdist = Sdist(name=name, version=mirror.commit[:12], sha256=_sha256(archive))
        _keep(archive, sdist, cache)
    match = _GITHUB.fullmatch(mirror.url)
    return Source(
        given=given,
        repo=f"{match[1]}/{match[2]}" if match else f"local/{name}",
        version=sdist.version,
        archive=sdist,
        mirror=mirror.path,
        commit=mirror.commit,
    )


def _with_metadata(given: str, sdist: Sdist, archive: Path) -> Source:
    text = _package_info(archive, given)
    headers = parse_email(text)[0]
    urls = [*headers.get("project_urls", {}).values(), headers.get("home_page", "")]
    found = [match for url in urls if (match := _GITHUB.fullmatch(url or ""))]
    own = [one for one in found if one[1] not in _NOT_A_REPOSITORY]
    repo = f"{own[0][1]}/{own[0][2]}" if own else f"pypi/{canonicalize_name(sdist.name)}"
    return Source(given=given, repo=repo, version=sdist.version, archive=sdist, metadata=text)


def _package_info(archive: Path, given: str) -> str:
    """The text of PKG-INFO in the top folder; nothing when there is none."""
    try:
        with tarfile.open(archive, "r:gz") as tar:
            for member in tar:
                if member.isfile() and re.fullmatch(r"(\./)?[^/]+/PKG-INFO", member.name):
                    file = tar.extractfile(member)
                    whole = file.read(_LARGEST_METADATA) if file else b""
                    return whole.decode(errors="replace").partition("\n\n")[0] + "\n"
    except (tarfile.TarError, OSError, EOFError) as error:
        raise ImageError(f"{given}: {error}") from None
    return ""


def _keep(path: Path, sdist: Sdist, cache: Path) -> Path:
    """Put an archive where `fetch_sdist` finds it."""
    place = cache / "sdists" / f"{sdist.name}-{sdist.version}-{sdist.sha256[:16]}.tar.gz"
    place.parent.mkdir(parents=True, exist_ok=True)
    draft = place.with_suffix(".draft")
    shutil.copyfile(path, draft)
    draft.replace(place)
    return place


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
