"""Git objects outside the repository of the work tree: second clones, bundles, stray packs."""

import re
from collections.abc import Iterator
from pathlib import Path

from harness.environments.lint.findings import Finding, Rule
from harness.environments.lint.git_rules import History, unreached
from harness.environments.lint.needles import Needles
from harness.environments.lint.scan import Piece, Scan
from harness.environments.lint.store import ObjectStore, UnreadableError

_PREREQUISITE = re.compile(rb"^-([0-9a-f]{40})", re.MULTILINE)
_BLOBS = 2000


def check_elsewhere(scan: Scan, history: History, folder: Path) -> Iterator[Finding]:
    """Errors for stores of the same project with objects that the base commit does not reach.

    Related is what shares an object with the repository, builds on one, or has the patch's lines.
    What is not related is a warning: another project's repository.
    """
    for number, (root, pieces) in enumerate(sorted(scan.elsewhere.items())):
        store = ObjectStore(folder / str(number), borrows=history.store)
        known = history.store.all().keys()
        ids: set[str] = set()
        related = False
        for piece in pieces:
            try:
                found, builds_on = _add(store, piece)
            except UnreadableError as error:
                yield _finding(piece.path, f"git objects that cannot be read: {error}")
                continue
            ids |= found
            related |= bool(builds_on & known)
        later = {i: kind for i, kind in store.all().items() if i in ids - history.reached}
        if not later:
            if ids:
                yield _finding(root, "a copy of the history, nothing later", severity="warning")
        elif related or ids & known:
            yield from unreached(store, later, root, Rule.GIT_ELSEWHERE)
        elif (blob := _telling_blob(store, later, scan.gold)) is not None:
            yield _finding(root, "a blob with the lines that the gold patch adds", blob)
        else:
            yield _finding(root, f"{len(later)} objects of another project", severity="warning")


def _add(store: ObjectStore, piece: Piece) -> tuple[set[str], set[str]]:
    """The ids in a piece, and the commits that it builds on."""
    piece.copy.seek(0)
    data = piece.copy.read()
    if piece.kind == "loose":
        return {store.add_loose(data, piece.path)}, set()
    if piece.kind == "pack":
        return set(store.add_pack(data, piece.path)), set()
    header, _, pack = data.partition(b"\n\n")
    builds_on = {found.decode() for found in _PREREQUISITE.findall(header)}
    return set(store.add_pack(pack, piece.path)), builds_on


def _telling_blob(store: ObjectStore, later: dict[str, str], gold: Needles) -> str | None:
    blobs = [each for each, kind in sorted(later.items()) if kind == "blob"]
    for each, content in store.blobs(blobs[:_BLOBS]):
        if gold.tells(gold.find(content), frozenset()):
            return each
    return None


def _finding(path: str, detail: str, blob: str = "", *, severity: str = "error") -> Finding:
    return Finding.model_validate(
        {
            "rule": Rule.GIT_ELSEWHERE,
            "severity": severity,
            "path": path,
            "detail": detail,
            "object": blob,
            "reproduce": f"file {path}",
        }
    )
