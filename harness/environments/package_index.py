"""Download a source distribution from the package index that pip is configured to use."""

import configparser
import json
import re
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urldefrag, urljoin, urlsplit

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import InvalidSdistFilename, parse_sdist_filename
from packaging.version import InvalidVersion, Version

from harness.environments.host_access import host_access
from harness.environments.recipe import Sdist

if TYPE_CHECKING:
    import httpx

_ACCEPT = "application/vnd.pypi.simple.v1+json, text/html;q=0.1"
_MAX_BYTES = 64 * 1024 * 1024
_PIP_SECONDS = 300


class PackageIndexError(Exception):
    """No configured package index has the archive, or none can be reached."""


def download_sdist(sdist: Sdist, folder: Path) -> Path:
    """Download a source distribution into a folder, without running anything of it.

    The index's simple API is asked first. Where it does not answer as expected (an index that is a
    folder, or asks for a login), `pip download` is, which checks the pinned hash and then runs the
    build backend to learn the metadata. The caller checks the hash.
    Raises PackageIndexError with what each of the two said.
    """
    path = folder / f"{sdist.name}-{sdist.version}.tar.gz"
    try:
        _from_simple_api(sdist, path)
    except PackageIndexError as error:
        try:
            return _by_pip(sdist, folder)
        except PackageIndexError as second:
            raise PackageIndexError(
                f"cannot be downloaded ({error}; {second}). A network or a package index is needed "
                "once; set PIP_INDEX_URL for an index of your own"
            ) from None
    return path


def find_release(project: str, series: str) -> Sdist:
    """The sdist of the earliest final release of a series: of `3.2`, that is 3.2 or 3.2.0.

    Raises PackageIndexError when no configured index has one and tells its hash.
    """
    import httpx

    found: dict[Version, str] = {}
    said = []
    with _configured() as (client, indexes):
        for index in indexes:
            try:
                for link, sha256 in _files(client, index, project) or ():
                    version = _version(link)
                    if version and sha256 and not version.is_prerelease:
                        found.setdefault(version, sha256)
            except (httpx.HTTPError, ValueError) as error:
                said.append(f"{urlsplit(index).hostname}: {error or type(error).__name__}")
    try:
        version = min(SpecifierSet(f"=={series}.*").filter(found))
    except (InvalidSpecifier, ValueError):
        said.append(f"none of {len(found)} releases is of {series}")
        raise PackageIndexError(f"{project} {series}: {'; '.join(said)}") from None
    return Sdist(name=project, version=str(version), sha256=found[version])


def _version(link: str) -> Version | None:
    """The version in the name of a `.tar.gz` sdist; None for another file."""
    name = unquote(urlsplit(link).path.rpartition("/")[2])
    try:
        return parse_sdist_filename(name)[1] if name.endswith(".tar.gz") else None
    except (InvalidSdistFilename, InvalidVersion):
        return None


def _from_simple_api(sdist: Sdist, path: Path) -> None:
    import httpx

    said = []
    with _configured() as (client, indexes):
        for index in indexes:
            host = urlsplit(index).hostname
            try:
                url = _find(client, index, sdist)
                if url:
                    _save(client, url, path)
                    return
                said.append(f"{host} does not have it")
            except (httpx.HTTPError, ValueError) as error:
                said.append(f"{host}: {error or type(error).__name__}")
    raise PackageIndexError("; ".join(said))


@contextmanager
def _configured() -> "Iterator[tuple[httpx.Client, list[str]]]":
    """A client, and the indexes that pip is configured to use."""
    import httpx

    access = host_access()
    config = configparser.RawConfigParser()
    config.read_string(access.files["pip.conf"].decode())
    indexes = config.get("global", "index-url", fallback=_pip_default()).split()
    indexes += config.get("global", "extra-index-url", fallback="").split()
    bundle = access.files.get("certificates.pem")
    context = ssl.create_default_context(cadata=bundle.decode() if bundle else None)
    with httpx.Client(verify=context, timeout=60, follow_redirects=True) as client:
        yield client, indexes


def _pip_default() -> str:
    """The index that pip asks when nothing is configured; nothing when pip does not say."""
    try:
        from pip._internal.models.index import PyPI
    except ImportError:
        return ""
    return str(PyPI.simple_url)


def _find(client: "httpx.Client", index: str, sdist: Sdist) -> str | None:
    """The address of the file with the pinned hash, or of that name where no hash is told."""
    files = _files(client, index, sdist.name)
    if files is None:
        return None
    project = _normal(sdist.name)
    for link, sha256 in files:
        if sha256 == sdist.sha256:
            return link
    for link, sha256 in files:
        name = unquote(urlsplit(link).path.rpartition("/")[2])
        if not sha256 and _normal(name) == (f"{project}-{sdist.version}.tar.gz".replace(".", "-")):
            return link
    return None


def _files(client: "httpx.Client", index: str, name: str) -> list[tuple[str, str]] | None:
    """Address and SHA-256 (empty when not told) of a project's files; None for no such project."""
    response = client.get(f"{index.rstrip('/')}/{_normal(name)}/", headers={"Accept": _ACCEPT})
    if response.status_code == 404:
        return None
    response.raise_for_status()
    if "json" in response.headers.get("content-type", ""):
        files = [
            (str(file["url"]), str(file.get("hashes", {}).get("sha256", "")))
            for file in json.loads(response.content).get("files", [])
        ]
    else:
        files = list(_links(response.text))
    return [(urljoin(str(response.url), link), sha256) for link, sha256 in files]


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _links(page: str) -> Iterator[tuple[str, str]]:
    """Address and SHA-256 (empty when not told) of the links of a simple API page in HTML."""
    found: list[str] = []

    class Anchors(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            found.extend(value for key, value in attrs if tag == "a" and key == "href" and value)

    Anchors().feed(page)
    for href in found:
        link, fragment = urldefrag(href)
        yield link, fragment.removeprefix("sha256=") if fragment.startswith("sha256=") else ""


def _save(client: "httpx.Client", url: str, path: Path) -> None:
    with client.stream("GET", url) as response, path.open("wb") as file:
        response.raise_for_status()
        size = 0
        for block in response.iter_bytes():
            size += len(block)
            if size > _MAX_BYTES:
                raise ValueError(f"{url} is over {_MAX_BYTES} bytes")
            file.write(block)


def _by_pip(sdist: Sdist, folder: Path) -> Path:
    requirements = folder / "requirements.txt"
    requirements.write_text(f"{sdist.name}=={sdist.version} --hash=sha256:{sdist.sha256}\n")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--retries=0", "--no-deps"]
    command += [
        "--require-hashes",
        "--no-binary=:all:",
        f"--dest={folder}",
        "-r",
        str(requirements),
    ]
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=_PIP_SECONDS)
    except subprocess.TimeoutExpired:
        raise PackageIndexError(f"pip download took over {_PIP_SECONDS} s") from None
    archives = list(folder.glob("*.tar.gz"))
    if result.returncode != 0 or len(archives) != 1:
        last = (result.stderr.strip().splitlines() or ["no archive"])[-1]
        raise PackageIndexError(f"pip: {last}")
    return archives[0]
