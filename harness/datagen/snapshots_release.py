"""A release on the package index, in place of a base commit that is nowhere at hand."""

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from harness.environments.errors import ImageError
from harness.environments.package_index import PackageIndexError, find_release
from harness.environments.source import fetch_sdist
from harness.records import Instance
from pi_extractors.base import ExtractionError, Snapshot
from pi_extractors.diffs import apply_to, new_path, old_path, parse_diff
from pi_extractors.snapshot import ArchiveSnapshot, MemorySnapshot

if TYPE_CHECKING:
    from unidiff.patch import PatchedFile

_PROJECTS = {"pvlib-python": "pvlib"}


def open_release(instance: Instance, cache: Path) -> tuple[Snapshot, str]:
    """The earliest release of the row's version with the row's patches undone, and what it is.

    A release may come after the fix: a file that it has in the patched state is put back. Of those
    that it has in neither state, the gold patch's are left out and the test patch's stay.
    Raises ImageError when the index has no such release, ExtractionError for a malformed patch.
    """
    name = instance.repo.rpartition("/")[2]
    try:
        sdist = find_release(_PROJECTS.get(name, name), instance.version)
    except PackageIndexError as error:
        raise ImageError(str(error)) from None
    tree = ArchiveSnapshot(fetch_sdist(sdist, cache))
    contents = {path: tree.read(path) for path in tree.files}
    undone, left_out = 0, []
    for file in parse_diff(instance.test_patch, f"{instance.instance_id}: test_patch"):
        undone += _undo(file, contents) == "undone"
    for file in parse_diff(instance.patch, f"{instance.instance_id}: patch"):
        state = _undo(file, contents)
        undone += state == "undone"
        if state == "unknown":
            left_out.append(file.path)
            for path in {old_path(file), new_path(file)} - {None}:
                contents.pop(path or "", None)
    origin = f"not the base commit: the release {sdist.name} {sdist.version}"
    if undone:
        origin += f", {undone} patched files put back"
    if left_out:
        origin += f", without {', '.join(left_out)}"
    return MemorySnapshot(contents, tree.skipped), origin


def _undo(
    file: "PatchedFile", contents: dict[str, bytes]
) -> Literal["before", "undone", "unknown"]:
    """Bring a file to its state before the patch, where it is in that after it."""
    old, new = old_path(file), new_path(file)
    if old is None:
        return "undone" if contents.pop(new or "", None) is not None else "before"
    # What only adds lines fits the file that has them already, too; what only removes, likewise.
    if old in contents and not file.added and _fits(contents[old], file, reverse=False):
        return "before"
    if new in contents and _fits(contents[new], file, reverse=True):
        contents[old] = apply_to(contents.pop(new), file, reverse=True)
        return "undone"
    if old in contents and _fits(contents[old], file, reverse=False):
        return "before"
    return "unknown" if old in contents or new in contents else "before"


def _fits(content: bytes, file: "PatchedFile", *, reverse: bool) -> bool:
    try:
        apply_to(content, file, reverse=reverse)
    except ExtractionError:
        return False
    return True
