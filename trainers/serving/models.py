"""From a model reference to a folder on this disk and the facts about it.

A reference is the name of a shipped manifest, a local folder, or a hub id (`org/name@revision`).
"""

import difflib
import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

import yaml

from trainers.serving.shipped import (
    ModelError,
    check_folder,
    converted_folder,
    file_sha256,
    shipped_folders,
    shipped_manifests,
)

DEFAULT_MODEL = "smollm2-135m"
ADAPTER_CONFIG, ADAPTER_WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
_HUB_ID = re.compile(r"[\w.\-]+/[\w.\-]+")
_HUB_FILES = ["*.safetensors", "*.json", "*.jinja", "*.txt", "*.model", "README.md", "LICENSE*"]


@dataclass(frozen=True)
class LocalModel:
    """A model folder (configuration, tokeniser, safetensors) and where it comes from."""

    name: str
    folder: Path
    title: str
    source: str
    licence: str
    artefact_sha256: str | None
    weights_sha256: str
    tokenizer_sha256: str


@dataclass(frozen=True)
class LocalAdapter:
    """A folder with a LoRA adapter as peft saves it, in safetensors."""

    folder: Path
    sha256: str

    @property
    def weights(self) -> Path:
        """The file of its weights."""
        return self.folder / ADAPTER_WEIGHTS


def resolve_adapter(folder: Path) -> LocalAdapter:
    """An adapter, by its folder or the name of a shipped one, and its digest, over configuration
    and weights. Raises ModelError."""
    shipped = shipped_folders("adapters").get(str(folder))
    if shipped and not folder.is_dir():
        manifest, folder = shipped
        check_folder(manifest, folder)
    files = [folder / ADAPTER_CONFIG, folder / ADAPTER_WEIGHTS]
    missing = [path.name for path in files if not path.is_file()]
    if missing:
        raise ModelError(f"adapter {folder}: no {', no '.join(missing)}")
    return LocalAdapter(folder.resolve(), _joint_sha256(files))


def resolve_model(reference: str, cache: Path) -> LocalModel:
    """Find a model; fetch and convert it when needed. Raises ModelError saying what to do."""
    manifests, folders = shipped_manifests(), shipped_folders()
    if reference in folders:
        own, folder = folders[reference]
        check_folder(own, folder)
        return _describe(
            folder, name=own.name, title=own.title, source=own.source, licence=own.licence
        )
    if reference in manifests:
        manifest = manifests[reference]
        return _describe(
            converted_folder(manifest, cache),
            name=manifest.name,
            title=manifest.title,
            source=manifest.source,
            licence=manifest.licence,
            artefact_sha256=manifest.file_sha256,
        )
    folder = Path(reference).expanduser()
    if folder.is_dir():
        folder = folder.resolve()
        return _describe(folder, name=folder.name, title=folder.name, source="a local folder")
    repository, _, revision = reference.partition("@")
    if not _HUB_ID.fullmatch(repository):
        known = [*manifests, *folders]
        near = difflib.get_close_matches(reference, known, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ModelError(
            f"no model {reference!r}: expected {' or '.join(known)}, an existing folder, or a "
            f"hub id like org/name@revision{hint}"
        )
    return _from_hub(repository, revision or None)


def _from_hub(repository: str, revision: str | None) -> LocalModel:
    from huggingface_hub import snapshot_download

    try:
        folder = Path(snapshot_download(repository, revision=revision, allow_patterns=_HUB_FILES))
    except Exception as error:  # the hub client raises its own, httpx's and the system's errors
        raise ModelError(
            f"model {repository}: not in the local hub cache and not to be had from the hub "
            f"({type(error).__name__}: {error}). Without a network, give a local folder, or the "
            f"shipped model {DEFAULT_MODEL!r}"
        ) from None
    commit = folder.name
    return _describe(
        folder,
        name=repository.rsplit("/", 1)[1],
        title=repository,
        source=f"hub {repository}@{commit}",
    )


def _describe(
    folder: Path,
    *,
    name: str,
    title: str,
    source: str,
    licence: str | None = None,
    artefact_sha256: str | None = None,
) -> LocalModel:
    weights = sorted(folder.glob("*.safetensors"))
    tokenizers = [folder / "tokenizer.json", folder / "tokenizer.model"]
    tokenizer = next((path for path in tokenizers if path.is_file()), None)
    missing = [
        what
        for what, there in (
            ("config.json", (folder / "config.json").is_file()),
            ("*.safetensors (no other format is loaded)", bool(weights)),
            ("tokenizer.json or tokenizer.model", tokenizer is not None),
        )
        if not there
    ]
    if missing or tokenizer is None:
        raise ModelError(f"model folder {folder}: no {', no '.join(missing)}")
    return LocalModel(
        name=name,
        folder=folder,
        title=title,
        source=source,
        licence=licence or _stated_licence(folder),
        artefact_sha256=artefact_sha256,
        weights_sha256=_joint_sha256(weights),
        tokenizer_sha256=file_sha256(tokenizer),
    )


def _joint_sha256(paths: list[Path]) -> str:
    """One file's SHA-256, or that of a `sha256sum` listing of several."""
    if len(paths) == 1:
        return file_sha256(paths[0])
    listing = "".join(f"{file_sha256(path)}  {path.name}\n" for path in paths)
    return hashlib.sha256(listing.encode()).hexdigest()


def _stated_licence(folder: Path) -> str:
    """The licence that a model folder states: in its model card's header, or as a file."""
    card = folder / "README.md"
    if card.is_file():
        parts = card.read_text(encoding="utf-8", errors="replace").split("---\n", 2)
        try:
            header = yaml.safe_load(parts[1]) if len(parts) > 2 and not parts[0] else None
        except yaml.YAMLError:
            header = None
        if isinstance(header, dict) and header.get("license"):
            return str(header["license"])
    for path in sorted(folder.glob("LICENSE*")):
        lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
        return next((line.strip() for line in lines if line.strip()), "unknown")[:100]
    return "unknown: the folder states none"
