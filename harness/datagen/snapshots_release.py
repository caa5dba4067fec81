"""A release on the package index, in place of a base commit that is nowhere at hand."""

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from harness.environments.errors import ImageError
from harness.environments.package_index import PackageIndexError, find_release
from harness.environments.source import fetch_sdist, unpack_sdist
from harness.records import Instance
from pi_extractors.base import ExtractionError, Snapshot
from pi_extractors.diffs import apply_to, new_path, old_path, parse_diff
from pi_extractors.snapshot import DirectorySnapshot, MemorySnapshot

if TYPE_CHECKING:
    from unidiff.patch import PatchedFile

_PROJECTS = {"pvlib-python": "pvlib"}


def open_release(instance: Instance, cache: Path) -> tuple[Snapshot, str]:
    """The earliest release of the row's version with the row's patches undone, and what it is.

    A release may come after the fix: a file of the gold patch or the test patch that it has in the
    patched state is put back; one that is in neither state is left out.
    Raises ImageError when the index has no such release, ExtractionError for a malformed patch.
    """
    name = instance.repo.rpartition("/")[2]
    try:
        sdist = find_release(_PROJECTS.get(name, name), instance.version)
    except PackageIndexError as error:
        raise ImageError(str(error)) from None
    with tempfile.TemporaryDirectory(prefix="harness-release-") as folder:
        unpack_sdist(fetch_sdist(sdist, cache), Path(folder))
        tree = DirectorySnapshot(Path(folder))
        contents = {path: tree.read(path) for path in tree.files}
        skipped = tree.skipped
    undone, left_out = 0, []
    for patch in (instance.test_patch, instance.patch):
        for file in parse_diff(patch, instance.instance_id):
            state = _undo(file, contents)
            undone += state == "undone"
            if state == "unknown":
                left_out.append(file.path)
    origin = f"not the base commit: the release {sdist.name} {sdist.version}"
    if undone:
        origin += f", {undone} patched files put back"
    if left_out:
        origin += f", without {', '.join(left_out)}"
    return MemorySnapshot(contents, skipped), origin


def _undo(file: "PatchedFile", contents: dict[str, bytes]) -> str:
    """Bring a file to its state before the patch, or remove it where it is in neither state."""
    old, new = old_path(file), new_path(file)
    if old is None:
        return "undone" if new is not None and contents.pop(new, None) is not None else "before"
    if old in contents and _fits(contents[old], file, reverse=False):
        return "before"
    if new in contents and _fits(contents[new], file, reverse=True):
        contents[old] = apply_to(contents.pop(new), file, reverse=True)
        return "undone"
    present = [path for path in (old, new) if path in contents]
    for path in dict.fromkeys(present):
        contents.pop(path or "", None)
    return "unknown" if present else "before"


def _fits(content: bytes, file: "PatchedFile", *, reverse: bool) -> bool:
    try:
        apply_to(content, file, reverse=reverse)
    except ExtractionError:
        return False
    return True
