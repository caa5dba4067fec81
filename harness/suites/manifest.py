"""The record of a shipped suite: `manifests/suites/<name>.yaml`."""

import hashlib
from collections.abc import Iterable
from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from harness.records import Record

_Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
_Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9.\-]*$")]
_FileName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.\-]*$")]


class PinnedPackage(Record):
    """A package whose source distribution a suite's instances were made from."""

    name: str
    version: str
    sha256: _Sha256 = Field(description="Of the source distribution.")
    licence: str = Field(min_length=1)


class SuiteManifest(Record):
    """What a shipped suite is and which bytes it consists of.

    A suite of kind `rows` ships its rows in `file`, next to the manifest. One of kind `ids` fixes
    the instance ids only; the rows come from a local file or from `dataset` on the Hugging Face
    hub, and are checked against the ids.
    """

    schema_version: Literal[1] = 1
    name: _Name
    title: str
    licence: str = Field(min_length=1)
    source: str = Field(min_length=1, description="Where the instances come from.")
    kind: Literal["rows", "ids"]
    file: _FileName | None = Field(None, description="JSONL, plain or gzip; kind `rows` only.")
    sha256: _Sha256 = Field(description="Of the bytes of `file`, or `ids_sha256` of all ids.")
    splits: dict[str, tuple[str, ...]] = Field(min_length=1, description="Instance ids by split.")
    packages: tuple[PinnedPackage, ...] = ()
    dataset: str | None = Field(None, description="Hub dataset id; kind `ids` only.")
    revision: str | None = Field(None, description="Hub commit, where known.")

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids of all splits, sorted."""
        return tuple(sorted(one for ids in self.splits.values() for one in ids))

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (self.file is not None) != (self.kind == "rows"):
            raise ValueError("kind rows needs file, kind ids has none")
        if len(set(self.ids)) != len(self.ids):
            raise ValueError("an instance id is listed twice in the splits")
        if self.kind == "ids" and (found := ids_sha256(self.ids)) != self.sha256:
            raise ValueError(f"the ids have SHA-256 {found}, not {self.sha256}")
        return self


def ids_sha256(ids: Iterable[str]) -> str:
    """SHA-256 of the sorted ids, one a line, each with a line feed."""
    return hashlib.sha256("".join(f"{one}\n" for one in sorted(ids)).encode()).hexdigest()
