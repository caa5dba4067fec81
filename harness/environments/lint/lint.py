"""Does an image show more than the base commit and its past?"""

import hashlib
import json
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from pydantic import ValidationError

from harness.environments.errors import ImageError
from harness.environments.image_files import ImageFiles, open_image
from harness.environments.lint.copies import check_copies
from harness.environments.lint.elsewhere import check_elsewhere
from harness.environments.lint.findings import Finding, LintReport, Rule
from harness.environments.lint.git_rules import (
    MAIN,
    check_history,
    check_refs,
    check_settings,
    check_state,
    read_settings,
)
from harness.environments.lint.needles import Needles
from harness.environments.lint.scan import TESTBED, Scan
from harness.environments.lint.store import ObjectStore, UnreadableError
from harness.records import Instance
from harness.records.cache import cache_root

LINTER = "1"
_SHOWN = 5

Tree = Mapping[str, tuple[str, str]]


class ImageLeakError(ImageError):
    """Images show something of the fix, or may."""


def lint_image(
    instance: Instance, image: str, kind: str, *, cache: Path | None = None, fresh: bool = False
) -> LintReport:
    """Look at everything in an instance's image for what its agent must not see.

    `image` is a reference of a sandbox provider of that kind (`docker` or `process`). The image is
    read from outside and runs nothing. The report is kept below `cache` by content of the image,
    of the row's commit and patches, and of this linter; `fresh` looks again.
    Raises ImageMissingError, or ImageError when the image cannot be read at all.
    """
    files = open_image(image, kind)
    facts = [LINTER, files.fingerprint(), instance.base_commit, instance.patch, instance.test_patch]
    key = hashlib.sha256(json.dumps([*facts, instance.instance_id]).encode()).hexdigest()
    path = (cache or cache_root()) / "lint" / key[:2] / f"{key}.json"
    if path.is_file() and not fresh:
        try:
            return LintReport.model_validate_json(path.read_bytes())
        except ValidationError:
            path.unlink()
    began = time.monotonic()
    report = LintReport(
        linter=LINTER,
        instance_id=instance.instance_id,
        image=image,
        digest=files.digest,
        findings=tuple(look_at(instance, files)),
        seconds=time.monotonic() - began,
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False) as file:
        file.write(report.model_dump_json(indent=1) + "\n")
    Path(file.name).rename(path)
    return report


def refuse_leaks(
    instances: Sequence[Instance],
    images: Mapping[str, str],
    kind: str,
    *,
    allowed: bool = False,
    on_progress: Callable[[str], None],
) -> list[LintReport]:
    """Lint the images of a run, given by instance id. Raises ImageLeakError naming each leak.

    With `allowed`, the reports are returned all the same, for the run to say what it knew.
    """
    reports = []
    for instance in instances:
        if instance.instance_id in images:
            report = lint_image(instance, images[instance.instance_id], kind)
            reports.append(report)
            for finding in report.errors[:1]:
                on_progress(f"{instance.instance_id}: {describe(finding)}")
    bad = [report for report in reports if report.errors]
    if bad and not allowed:
        lines = [f"  {each.instance_id}: {describe(each.errors[0])}" for each in bad[:_SHOWN]]
        raise ImageLeakError(
            f"{len(bad)} of {len(reports)} images show their agent more than the base commit:\n"
            + "\n".join(lines)
            + "\nSee all with: harness env lint. Build them again, or use --allow-leaks."
        )
    return reports


def describe(finding: Finding) -> str:
    """A finding in one line."""
    extra = " ".join(part for part in (finding.object, finding.line) if part)
    return f"{finding.rule.value}: {finding.path}: {finding.detail}" + (f" ({extra})" * bool(extra))


def look_at(instance: Instance, files: ImageFiles) -> Iterator[Finding]:
    """The findings of every rule that needs no running sandbox."""
    with tempfile.TemporaryDirectory(prefix="harness-lint-") as name:
        folder = Path(name)
        scan = Scan(
            ObjectStore(folder / "main"),
            gold=Needles.of(instance.patch),
            test=Needles.of(instance.test_patch),
        )
        scan.take(files.entries(), files.config)
        yield from scan.findings
        read = len(scan.findings)
        if not scan.git_names:
            yield _error(Rule.GIT_HEAD, MAIN, "there is no git repository")
            return
        if shallow := scan.git_files.get("shallow"):
            scan.main.cut_at(shallow.decode(errors="replace").split())
        try:
            yield from check_settings(read_settings(scan.main, scan.git_files.get("config", b"")))
        except UnreadableError as error:
            yield _error(Rule.GIT_UNREADABLE, f"{MAIN}/config", str(error))
        history, findings = check_history(scan.main, scan.git_files, instance.base_commit)
        yield from findings
        yield from check_refs(scan.git_files, history)
        message = scan.main.message(history.head) if history else b""
        yield from check_state(scan.git_names, scan.git_files, message)
        if history is None:
            return
        base = scan.main.tree(instance.base_commit)
        yield from _check_work_tree(scan, scan.main.tree(history.head))
        yield from check_elsewhere(scan, history, folder)
        same = _same_as_base(scan, base)
        known = _lines_of(scan.gold_lines, same)
        yield from check_copies(scan, instance, base, known)
        yield from _check_lines(scan.gold_lines, scan.gold, same, Rule.GOLD_LINES)
        yield from _check_lines(scan.test_lines, scan.test, same, Rule.TEST_LINES)
        yield from scan.findings[read:]


def _check_work_tree(scan: Scan, tree: Tree) -> Iterator[Finding]:
    other = sorted(
        path
        for path, (mode, blob) in tree.items()
        if mode != "160000"
        and blob
        not in (scan.blobs.get(f"{TESTBED}/{path}"), scan.plain_blobs.get(f"{TESTBED}/{path}"))
    )
    if other:
        yield Finding(
            rule=Rule.WORK_TREE,
            severity="error",
            path=f"{TESTBED}/{other[0]}",
            detail=f"{len(other)} files are not as the commit at HEAD has them",
            reproduce=f"git -C {TESTBED} diff --stat HEAD",
        )


def _same_as_base(scan: Scan, base: Tree) -> frozenset[str]:
    """The files of the work tree that are the base commit's."""
    paths = ((f"{TESTBED}/{path}", blob) for path, (_, blob) in base.items())
    return frozenset(
        path for path, blob in paths if blob in (scan.blobs.get(path), scan.plain_blobs.get(path))
    )


def _lines_of(found: Mapping[str, frozenset[bytes]], paths: frozenset[str]) -> frozenset[bytes]:
    return frozenset(line for path, lines in found.items() if path in paths for line in lines)


def _check_lines(
    found: Mapping[str, frozenset[bytes]], needles: Needles, same: frozenset[str], rule: Rule
) -> Iterator[Finding]:
    known = _lines_of(found, same)
    patch = "gold" if rule is Rule.GOLD_LINES else "test"
    for path, lines in sorted(found.items()):
        there = needles.tells(lines, known)
        if there and path.partition("!/")[0] not in same:
            line = max(there, key=len).decode(errors="replace")
            yield Finding(
                rule=rule,
                severity="error",
                path=path,
                detail=f"{len(there)} of the {len(frozenset(needles.lines) - known)} telling lines "
                f"that the {patch} patch adds",
                line=line[:160],
                reproduce=f"grep -nF -- {line[:60]!r} {path.partition('!/')[0]}",
            )


def _error(rule: Rule, path: str, detail: str) -> Finding:
    return Finding(rule=rule, severity="error", path=path, detail=detail)
