"""Where the shipped manifests are, and the suites among them."""

from importlib.resources import files
from pathlib import Path

import yaml
from pydantic import ValidationError

from harness.suites.errors import SuiteError, did_you_mean
from harness.suites.manifest import SuiteManifest


def manifests_root() -> Path:
    """The folder of shipped manifests: package data when installed, else the checkout's.

    Raises SuiteError when neither exists.
    """
    package = Path(str(files("harness")))
    for folder in (package / "_manifests", package.parent / "manifests"):
        if (folder / "suites").is_dir():
            return folder
    raise SuiteError(f"no manifests next to {package}: install the package again")


def suite_names(root: Path | None = None) -> tuple[str, ...]:
    """The names of the shipped suites, sorted."""
    return tuple(sorted(path.stem for path in _folder(root).glob("*.yaml")))


def load_manifest(name: str, root: Path | None = None) -> SuiteManifest:
    """The manifest of a shipped suite.

    Raises SuiteError for an unknown name (with the nearest one) or a malformed manifest.
    """
    names = suite_names(root)
    if name not in names:
        raise SuiteError(
            f"no suite named {name!r} (shipped: {', '.join(names)}){did_you_mean(name, names)}"
        )
    path = _folder(root) / f"{name}.yaml"
    try:
        manifest = SuiteManifest.model_validate(yaml.safe_load(path.read_text()))
    except yaml.YAMLError as error:
        raise SuiteError(f"{path}: not YAML: {error}") from None
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"])) or "manifest"
        raise SuiteError(f"{path}: field {field}: {first['msg']}") from None
    if manifest.name != name:
        raise SuiteError(f"{path}: field name is {manifest.name!r}, the file says {name!r}")
    return manifest


def rows_file(manifest: SuiteManifest, root: Path | None = None) -> Path:
    """The file of a shipped suite's rows. Raises SuiteError when the manifest names none."""
    if manifest.file is None:
        raise SuiteError(
            f"suite {manifest.name} fixes ids only; its rows come from a local file or the hub"
        )
    return _folder(root) / manifest.file


def _folder(root: Path | None) -> Path:
    return (root or manifests_root()) / "suites"
