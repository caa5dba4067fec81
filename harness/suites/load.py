"""One way to any suite: shipped, in a file, or on the Hugging Face hub."""

import hashlib
import json
import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from harness.records import Instance
from harness.suites.errors import SuiteError, did_you_mean, nearest
from harness.suites.hub import read_hub
from harness.suites.manifest import SuiteManifest
from harness.suites.manifests import load_manifest, rows_file, suite_names
from harness.suites.rows import SUFFIXES, Row, read_rows
from harness.suites.validate import RefusedRow, validate_rows

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.\-]*/[A-Za-z0-9][\w.\-]*(@[\w.\-/]+)?")


@dataclass(frozen=True)
class Suite:
    """Instances, where they come from, and the rows that are none.

    `sha256` is of the instances' content (`rows_sha256`): the same for JSONL, Parquet and hub.
    """

    name: str
    source: str
    split: str | None
    revision: str | None
    instances: tuple[Instance, ...]
    refused: tuple[RefusedRow, ...]
    ignored_fields: tuple[str, ...]
    sha256: str


def load_suite(
    reference: str,
    *,
    split: str | None = None,
    revision: str | None = None,
    strict: bool = True,
    rows: Path | None = None,
) -> Suite:
    """Load a suite: a shipped name (`pypi-mini`, `pypi-mini/test`), a file, or a hub dataset
    (`owner/name`, `owner/name@revision`, split `test` unless given).

    Bad rows are returned in `refused`, all of them. `strict` refuses rows with unknown fields.
    `rows` is a local file for a shipped suite that fixes ids only. Raises SuiteError.
    """
    if reference.lower().endswith(SUFFIXES) or Path(reference).is_file():
        if split or revision or rows:
            raise SuiteError(f"{reference}: a file has no splits, revisions or other rows")
        path = Path(reference)
        return _suite(path.name, str(path), read_rows(path), strict=strict)
    name, _, part = reference.partition("/")
    if name in suite_names():
        if part and split not in (None, part):
            raise SuiteError(f"{reference} is split {part!r}, but split {split!r} was asked for")
        manifest = load_manifest(name)
        if manifest.kind == "ids":
            return _of_ids(manifest, part or split, revision, rows, strict=strict)
        if revision or rows:
            raise SuiteError(f"{name} ships its rows: it takes no revision and no other rows")
        return _of_rows(manifest, part or split)
    near = nearest(name, suite_names())
    if not _HUB_ID.fullmatch(reference) or (near and part in load_manifest(near).splits):
        raise SuiteError(
            f"no suite, file or hub dataset named {reference!r} "
            f"(shipped: {', '.join(suite_names())}){did_you_mean(name, suite_names())}"
        )
    if rows:
        raise SuiteError(f"{reference}: other rows go with a shipped suite only")
    dataset, _, pinned = reference.partition("@")
    return _on_hub(dataset, dataset, split or "test", pinned or revision, strict=strict)


def split_ids(manifest: SuiteManifest, split: str | None) -> tuple[str, ...]:
    """The ids of one split, or of all. Raises SuiteError for an unknown split."""
    if split is None:
        return manifest.ids
    try:
        return manifest.splits[split]
    except KeyError:
        raise SuiteError(
            f"{manifest.name} has no split {split!r}, only {', '.join(manifest.splits)}"
        ) from None


def rows_sha256(instances: Iterable[Instance]) -> str:
    """SHA-256 of the instances as sorted canonical JSON lines, fields at their default left out."""
    digest = hashlib.sha256()
    for instance in sorted(instances, key=lambda one: one.instance_id):
        content = instance.model_dump(mode="json", exclude_defaults=True)
        digest.update(json.dumps(content, sort_keys=True).encode() + b"\n")
    return digest.hexdigest()


def _of_rows(manifest: SuiteManifest, split: str | None) -> Suite:
    """A shipped suite that ships its rows."""
    ids = frozenset(split_ids(manifest, split))
    path = rows_file(manifest)
    try:
        found = hashlib.sha256(path.read_bytes()).hexdigest()
    except FileNotFoundError:
        raise SuiteError(f"{path}: missing; restore it or install the package again") from None
    if found != manifest.sha256:
        raise SuiteError(
            f"{path}: SHA-256 is {found}, the manifest says {manifest.sha256}: "
            "the file was changed; restore it or install the package again"
        )
    whole = _suite(manifest.name, str(path), read_rows(path), strict=True)
    _require_ids(whole, manifest.ids)
    if split is None:
        return whole
    instances = tuple(one for one in whole.instances if one.instance_id in ids)
    return replace(
        whole,
        name=f"{manifest.name}/{split}",
        split=split,
        instances=instances,
        sha256=rows_sha256(instances),
    )


def _of_ids(
    manifest: SuiteManifest,
    split: str | None,
    revision: str | None,
    rows: Path | None,
    *,
    strict: bool,
) -> Suite:
    """A shipped suite that fixes ids only: its rows from a local file or the hub."""
    ids = split_ids(manifest, split)
    if rows is not None:
        suite = _suite(manifest.name, str(rows), read_rows(rows), strict=strict)
    elif manifest.dataset is not None:
        at = revision or manifest.revision
        suite = _on_hub(manifest.name, manifest.dataset, split or "test", at, strict=strict)
    else:
        raise SuiteError(f"{manifest.name}: name a local file with its rows")
    _require_ids(suite, ids)
    return replace(suite, split=split)


def _on_hub(name: str, dataset: str, split: str, revision: str | None, *, strict: bool) -> Suite:
    found = read_hub(dataset, split=split, revision=revision)
    suite = _suite(name, dataset, found.rows, strict=strict)
    return replace(suite, split=split, revision=found.revision)


def _suite(name: str, source: str, rows: Iterator[Row], *, strict: bool) -> Suite:
    instances, refused, ignored_fields = validate_rows(rows, file=source, strict=strict)
    return Suite(
        name=name,
        source=source,
        split=None,
        revision=None,
        instances=instances,
        refused=refused,
        ignored_fields=ignored_fields,
        sha256=rows_sha256(instances),
    )


def _require_ids(suite: Suite, ids: Collection[str]) -> None:
    """Raise SuiteError unless the suite consists of exactly these ids, refused rows aside."""
    expected, found = set(ids), {one.instance_id for one in suite.instances}
    problems = [
        f"{len(names)} {kind}: {', '.join(sorted(names)[:10])}{' …' if len(names) > 10 else ''}"
        for kind, names in (("missing", expected - found), ("too many", found - expected))
        if names
    ]
    if problems:
        refused = "".join(f"\n{row.text}" for row in suite.refused[:10])
        raise SuiteError(
            f"{suite.source}: suite {suite.name} is {len(expected)} fixed instances; "
            + "; ".join(problems)
            + (f"; {len(suite.refused)} rows were refused:{refused}" if refused else "")
        )
