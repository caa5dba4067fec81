"""A copy of a suite whose oracle fields carry canaries, and which grades as the original does."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from harness.leakage.canaries_patch import add_comment, add_preamble
from harness.leakage.ledger import (
    ORACLE_FIELDS,
    How,
    Ledger,
    LedgerError,
    Planted,
    Unplanted,
    canary,
    field_sha256,
    new_seed,
)
from harness.records import Instance
from harness.suites.load import Suite, rows_sha256

ROWS, LEDGER = "instances.jsonl", "ledger.json"
_ORACLE_ASSETS = ("patch", "test_patch")
_OLD_TESTS = "names of tests that are there at the base commit cannot change"
_NO_NEW_TEST = "no test function is new and named in the test patch alone"


class Copy(NamedTuple):
    """Where a planted suite and its ledger are."""

    rows: Path
    ledger: Path


def write_copy(suite: Suite, folder: Path, *, seed: str | None = None) -> tuple[Ledger, Copy]:
    """Plant a suite and write `instances.jsonl` and `ledger.json` to a folder.

    Raises FileExistsError when one is there (a ledger that is gone makes its canaries unreadable),
    and LedgerError for a seed that is none.
    """
    if seed is not None and not re.fullmatch(r"[0-9a-f]{64}", seed):
        raise LedgerError(f"{seed!r} is no seed: give 64 hex digits, or none to have one drawn")
    paths = Copy(folder / ROWS, folder / LEDGER)
    for path in paths:
        if path.exists():
            raise FileExistsError(f"{path} exists; give another folder")
    instances, ledger = plant(suite, seed=seed or new_seed())
    folder.mkdir(parents=True, exist_ok=True)
    with paths.rows.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(f"{each.model_dump_json(exclude_unset=True)}\n" for each in instances)
    paths.ledger.touch(mode=0o600)
    paths.ledger.write_text(ledger.model_dump_json(indent=1) + "\n", encoding="utf-8")
    return ledger, paths


def plant(suite: Suite, *, seed: str) -> tuple[tuple[Instance, ...], Ledger]:
    """The suite's instances with canaries, and their ledger. The same seed plants the same."""
    planted: list[Planted] = []
    unplanted: list[Unplanted] = []
    copies = []
    for instance in suite.instances:
        copy, marks = _plant_row(instance, seed)
        copies.append(copy)
        for field in ORACLE_FIELDS:
            mark = marks[field]
            if isinstance(mark, How):
                planted.append(
                    Planted(
                        canary=canary(seed, instance.instance_id, field),
                        instance_id=instance.instance_id,
                        field=field,
                        how=mark,
                        sha256=field_sha256(copy, field),
                    )
                )
            else:
                reason = Unplanted(instance_id=instance.instance_id, field=field, reason=mark)
                unplanted.append(reason)
    ledger = Ledger(
        seed=seed,
        suite=suite.name,
        suite_sha256=suite.sha256,
        planted_sha256=rows_sha256(copies),
        planted=tuple(planted),
        unplanted=tuple(unplanted),
    )
    return tuple(copies), ledger


def _plant_row(instance: Instance, seed: str) -> tuple[Instance, dict[str, How | str]]:
    """The copy, and for each oracle field how it was planted or why not."""

    def of(field: str) -> str:
        return canary(seed, instance.instance_id, field)

    changes: dict[str, Any] = {}
    marks: dict[str, How | str] = {}
    changes["patch"], marks["patch"] = _mark_patch(instance.patch, of("patch"))
    changes["hints_text"] = f"{instance.hints_text}\n{of('hints_text')}".lstrip("\n")
    marks["hints_text"] = How.LINE
    marks["PASS_TO_PASS"] = _OLD_TESTS

    renaming = _renaming(instance, of("FAIL_TO_PASS"))
    tests = renaming.text(instance.test_patch)
    changes["test_patch"], marks["test_patch"] = _mark_patch(tests, of("test_patch"))
    if renaming.names:
        changes["FAIL_TO_PASS"] = tuple(map(renaming.test_id, instance.FAIL_TO_PASS))
        changes["PASS_TO_PASS"] = tuple(map(renaming.test_id, instance.PASS_TO_PASS))
        marks["FAIL_TO_PASS"] = How.TEST_NAME
    else:
        marks["FAIL_TO_PASS"] = _NO_NEW_TEST
    if instance.eval_script is None:
        marks["eval_script"] = "the row has none"
    else:
        script = instance.eval_script
        if _embeds(instance):
            script = script.replace(
                instance.test_patch.rstrip("\n"), changes["test_patch"].rstrip("\n")
            )
        first, _, rest = script.partition("\n")
        changes["eval_script"] = f"{first}\n# {of('eval_script')}\n{rest}"
        marks["eval_script"] = How.SHELL_COMMENT
    assets = _mark_assets(instance.image_assets, of("image_assets"))
    marks["image_assets"] = How.ASSET if assets else "the patches have no images"
    if assets:
        changes["image_assets"] = assets
    return instance.model_copy(update=changes), marks


def _mark_patch(patch: str, text: str) -> tuple[str, How]:
    marked = add_comment(patch, text)
    return (marked, How.COMMENT) if marked else (add_preamble(patch, text), How.PREAMBLE)


def _mark_assets(assets: dict[str, Any], text: str) -> dict[str, Any] | None:
    """The images with one more, which does not exist, for each patch that has some."""
    lists = [name for name in _ORACLE_ASSETS if isinstance(assets.get(name), list)]
    if not lists:
        return None
    extra = f"https://canary.invalid/{text}.png"
    return assets | {name: [*assets[name], extra] for name in lists}


@dataclass(frozen=True)
class _Renaming:
    """New test functions get a name that ends in the canary."""

    names: frozenset[str]
    canary: str

    def text(self, patch: str) -> str:
        for name in sorted(self.names):
            patch = re.sub(rf"\b{name}\b", f"{name}_{self.canary}", patch)
        return patch

    def test_id(self, test: str) -> str:
        name = _function(test)
        if name not in self.names:
            return test
        head, found, tail = _split(test)
        tail = re.sub(rf"\.{name}\)$", f".{name}_{self.canary})", tail)
        return f"{head}{found}_{self.canary}{tail}"


def _renaming(instance: Instance, text: str) -> _Renaming:
    """Those FAIL_TO_PASS functions that the test patch alone names, once, where it adds them."""
    if instance.eval_script is not None and not _embeds(instance):
        return _Renaming(frozenset(), text)
    heads: dict[str, set[str]] = {}
    all_tests = (*instance.FAIL_TO_PASS, *instance.PASS_TO_PASS)
    for test in all_tests:
        heads.setdefault(_function(test), set()).add(_owner(test))
    others = (instance.eval_script or "").replace(instance.test_patch.rstrip("\n"), "")
    others += instance.patch + instance.problem_statement
    others += "".join(test for test in all_tests if not _function(test))
    names = {
        name
        for name in map(_function, instance.FAIL_TO_PASS)
        if name
        and len(heads[name]) == 1
        and len(re.findall(rf"\b{name}\b", instance.test_patch)) == 1
        and re.search(rf"^\+\s*(async )?def {name}\(", instance.test_patch, re.M)
        and not re.search(rf"\b{name}\b", others)
    }
    return _Renaming(frozenset(names), text)


_ID = re.compile(r"(?P<head>(?:.*::)?)(?P<name>test\w*)(?P<tail>(?:\[.*)?|(?: \([\w.]+\))?)", re.S)


def _split(test: str) -> tuple[str, str, str]:
    """What is before a test's function name, the name, what follows. Three shapes of ids:
    `a.py::Class::test_x[1]` (cut at a space by some parsers), `test_x (module.Class)`, `test_x`."""
    found = _ID.fullmatch(test)
    return (found["head"], found["name"], found["tail"]) if found else (test, "", "")


def _function(test: str) -> str:
    return _split(test)[1]


def _owner(test: str) -> str:
    head, name, tail = _split(test)
    return head + (re.sub(rf"\.{name}\)$", ")", tail) if tail.startswith(" ") else "")


def _embeds(instance: Instance) -> bool:
    """Whether the evaluation script has the test patch in it, once."""
    return (instance.eval_script or "").count(instance.test_patch.rstrip("\n")) == 1


def summary(ledger: Ledger) -> dict[str, dict[str, int]]:
    """How many fields were planted, by field and way, and how many not."""
    counts: dict[str, dict[str, int]] = {field: {} for field in ORACLE_FIELDS}
    marks: Iterable[tuple[str, str]] = [
        *((each.field, each.how.value) for each in ledger.planted),
        *((each.field, "not planted") for each in ledger.unplanted),
    ]
    for field, how in marks:
        counts[field][how] = counts[field].get(how, 0) + 1
    return counts
