"""Lock files of images: what the images of a suite held when their results were made.

One JSON object a line, sorted: first the package lists (`"table"`), which rows refer to by hash,
then one row per instance.
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError

from harness.environments.contents import Contents
from harness.environments.errors import ImageError
from harness.records import Record

Kind = Literal["docker", "process"]

# What two builds of the same recipe must have in common. An image's digest is not among these: it
# hashes the time of the build, too.
COMPARED = (
    "base_commit",
    "recipe",
    "layout",
    "python",
    "packages",
    "system_packages",
    "tree",
    "git",
    "environment",
)


class LockError(ImageError):
    """A lock file is malformed, or has no row for an instance."""


class LockRow(Record):
    """One instance's image. Hashes are `sha256:…`; see `Contents` for what they are of."""

    schema_version: Literal[1] = 1
    instance_id: str
    kind: Kind
    image: str
    digest: str
    registry_digest: str = ""
    base_commit: str
    base_digest: str = ""
    base_release: str = ""
    recipe: str
    layout: str
    python: str
    packages: str
    system_packages: str
    tree: str
    git: str
    environment: str


class Lock(Record):
    """Rows by instance id, and the package lists that they refer to."""

    rows: dict[str, LockRow] = Field(default_factory=dict)
    tables: dict[str, tuple[str, ...]] = Field(default_factory=dict)

    def with_row(self, row: LockRow, contents: Contents) -> "Lock":
        """This lock with a row more, or another one in its place."""
        rows = {**self.rows, row.instance_id: row}
        tables = {
            **self.tables,
            row.packages: contents.packages,
            row.system_packages: contents.system_packages,
        }
        used = {
            hashed for each in rows.values() for hashed in (each.packages, each.system_packages)
        }
        return Lock(rows=rows, tables={key: tables[key] for key in sorted(used)})

    def save(self, path: Path) -> None:
        """Write the lock file; the same contents give the same bytes."""
        lines = [
            json.dumps({"table": key, "packages": self.tables[key]}) for key in sorted(self.tables)
        ]
        lines += [self.rows[key].model_dump_json() for key in sorted(self.rows)]
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}")
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")
        temporary.replace(path)


def load_lock(path: Path) -> Lock:
    """Read a lock file. Raises LockError naming file, line and field."""
    rows: dict[str, LockRow] = {}
    tables: dict[str, tuple[str, ...]] = {}
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise LockError(f"{path}: {error}; make it with: harness env pin") from None
    for number, line in enumerate(lines, start=1):
        try:
            value = json.loads(line)
            if "table" in value:
                tables[value["table"]] = tuple(map(str, value["packages"]))
                if table_hash(tables[value["table"]]) != value["table"]:
                    raise LockError(
                        f"{path}: line {number}: the packages are not those of the hash"
                    )
                continue
            row = LockRow.model_validate(value)
        except (ValidationError, ValueError, TypeError, KeyError) as error:
            reason = error.errors()[0]["msg"] if isinstance(error, ValidationError) else error
            raise LockError(f"{path}: line {number}: {reason}") from None
        if row.instance_id in rows:
            raise LockError(f"{path}: line {number}: a second row for {row.instance_id}")
        if missing := {row.packages, row.system_packages} - tables.keys():
            raise LockError(f"{path}: line {number}: no table {missing.pop()}")
        rows[row.instance_id] = row
    return Lock(rows=rows, tables=tables)


def load_locks(folder: Path, kind: Kind) -> Lock:
    """All rows of a kind in a folder's `*.jsonl` files. Raises LockError when two disagree."""
    rows: dict[str, LockRow] = {}
    tables: dict[str, tuple[str, ...]] = {}
    for path in sorted(folder.glob("*.jsonl")):
        lock = load_lock(path)
        tables |= lock.tables
        for name, row in lock.rows.items():
            if row.kind != kind:
                continue
            if rows.setdefault(name, row) != row:
                raise LockError(f"{path}: another lock in {folder} says otherwise about {name}")
    return Lock(rows=rows, tables=tables)


def table_hash(packages: Sequence[str]) -> str:
    """The name of a package list."""
    return "sha256:" + hashlib.sha256("\n".join(packages).encode()).hexdigest()


def package_changes(locked: Iterable[str], found: Iterable[str]) -> list[str]:
    """Packages that are gone (`-`) and new (`+`)."""
    before, after = set(locked), set(found)
    return [f"- {name}" for name in sorted(before - after)] + [
        f"+ {name}" for name in sorted(after - before)
    ]
