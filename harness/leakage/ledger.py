"""The ledger of planted canaries: which text stands for which oracle field of which instance."""

import base64
import hashlib
import hmac
import secrets
from collections.abc import Mapping
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError

from harness.records import Instance, Record

PREFIX_CHARACTERS = 10  # 50 bits: chance in a terabyte of text is 1e-3
OWN_CHARACTERS = 16  # 80 bits

# What of an instance says how it is solved or judged. A student sees none of it.
ORACLE_FIELDS: Mapping[str, str] = {
    "patch": "the solution",
    "test_patch": "the tests that decide",
    "hints_text": "comments on the issue, up to the solution's pull request",
    "FAIL_TO_PASS": "names of the tests that decide",
    "PASS_TO_PASS": "names of the tests that decide",
    "eval_script": "has the test patch and the names of the test files",
    "image_assets": "has the images of the patch and of the test patch",
}
# What may be shown, or says nothing about the solution.
OPEN_FIELDS: Mapping[str, str] = {
    "instance_id": "names the attempt",
    "repo": "the student works on it",
    "base_commit": "the student works on it",
    "problem_statement": "the task itself",
    "created_at": "when the issue was",
    "version": "names the environment",
    "environment_setup_commit": "a commit's name; images have no object of that name",
    "difficulty": "an annotator's estimate of hours; one of four values can carry no canary",
    "image": "the student works in it",
    "log_parser": "follows from the repository",
    "eval_type": "the same for nearly all instances",
}


class LedgerError(ValueError):
    """A ledger cannot be used; the text says why and what to do."""


class How(StrEnum):
    """How a canary was planted."""

    COMMENT = "comment"  # a comment line among the added lines of a Python file
    PREAMBLE = "preamble"  # a line before the first file of a diff, which `git apply` passes over
    LINE = "line"  # a line of its own at the end of a text
    TEST_NAME = "test_name"  # the end of the names of new test functions, wherever they stand
    SHELL_COMMENT = "shell_comment"  # a comment line after a script's first
    ASSET = "asset"  # an image's address


class Planted(Record):
    """One canary and the field that it stands for."""

    canary: str
    instance_id: str
    field: str
    how: How
    sha256: str = Field(description="Of the planted column, as `field_sha256` makes it.")

    @property
    def name(self) -> str:
        """`instance/field`."""
        return f"{self.instance_id}/{self.field}"


class Unplanted(Record):
    """An oracle field without a canary, and why."""

    instance_id: str
    field: str
    reason: str


class Ledger(Record):
    """`ledger.json`. Whoever has it can tell canaries from other text: keep it from students."""

    schema_version: Literal[1] = 1
    seed: str = Field(pattern=r"^[0-9a-f]{64}$", description="Secret; all canaries follow from it.")
    suite: str
    suite_sha256: str = Field(description="`rows_sha256` of the suite that was planted.")
    planted_sha256: str = Field(description="`rows_sha256` of the copy with canaries.")
    planted: tuple[Planted, ...]
    unplanted: tuple[Unplanted, ...]

    @property
    def prefix(self) -> str:
        """What every canary of this ledger begins with."""
        return prefix(self.seed)

    @cached_property
    def by_canary(self) -> dict[str, Planted]:
        """The planted fields by canary."""
        return {each.canary: each for each in self.planted}

    @classmethod
    def load(cls, path: Path) -> "Ledger":
        """Raises LedgerError."""
        try:
            return cls.model_validate_json(path.read_bytes())
        except OSError as error:
            raise LedgerError(
                f"{path}: {error.strerror}; make a ledger with: harness leakage plant"
            ) from None
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            field = ".".join(map(str, first["loc"]))
            raise LedgerError(f"{path} is no canary ledger: {field}: {first['msg']}") from None

    def carried_by(self, instance: Instance) -> tuple[Planted, ...]:
        """The canaries that an instance's row really has: those of a planted copy, else none."""
        return tuple(
            each
            for each in self._by_instance.get(instance.instance_id, ())
            if field_sha256(instance, each.field) == each.sha256
        )

    @cached_property
    def _by_instance(self) -> dict[str, list[Planted]]:
        found: dict[str, list[Planted]] = {}
        for each in self.planted:
            found.setdefault(each.instance_id, []).append(each)
        return found


def new_seed() -> str:
    """A seed that nobody can guess."""
    return secrets.token_hex(32)


def prefix(seed: str) -> str:
    """What every canary of a seed begins with: lower-case letters and digits, first a letter."""
    return "q" + _derive(seed, "prefix")[: PREFIX_CHARACTERS - 1]


def canary(seed: str, instance_id: str, field: str) -> str:
    """The canary of a field: lower-case letters and digits alone, so that it survives escaping."""
    return prefix(seed) + _derive(seed, "canary", instance_id, field)[:OWN_CHARACTERS]


def field_sha256(instance: Instance, field: str) -> str:
    """Digest of a column as the record has it."""
    return hashlib.sha256(instance.model_dump_json(include={field}).encode()).hexdigest()


def _derive(seed: str, *parts: str) -> str:
    digest = hmac.new(bytes.fromhex(seed), "\0".join(parts).encode(), hashlib.sha256).digest()
    return base64.b32encode(digest).decode().lower().rstrip("=")
