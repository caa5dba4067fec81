"""What a process sandbox runs: a folder with trees and `image.json`, which says where they go."""

from collections.abc import Iterable, Sequence
from itertools import permutations
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, ValidationError, model_validator

from harness.records import Record
from harness.sandboxes.base import Bind, ImageMissingError
from harness.sandboxes.bubblewrap import HOME, TMP

FILE = "image.json"
# These are the host's own, read-only, or the sandbox's.
_RESERVED = (
    "/bin",
    "/dev",
    "/lib",
    "/lib32",
    "/lib64",
    "/libx32",
    "/proc",
    "/sbin",
    "/sys",
    "/usr",
)
_WRITABLE = (HOME, TMP, f"/var{TMP}")


def _normal(target: str) -> str:
    path = PurePosixPath(target)
    if not path.is_absolute() or str(path) != target or ".." in path.parts or len(path.parts) < 2:
        raise ValueError(f"{target!r} is no absolute path without detours")
    if any(path.is_relative_to(folder) for folder in _RESERVED):
        raise ValueError(f"{target} belongs to the system; mount elsewhere")
    return target


def check_targets(targets: Iterable[tuple[str, bool]]) -> None:
    """Raises ValueError when one of these places is inside another that is writable.

    The sandbox could replace the inner mount point by a link between two commands.
    """
    for (inner, _), (outer, writable) in permutations(targets, 2):
        if writable and PurePosixPath(inner).is_relative_to(outer):
            raise ValueError(f"{inner} is inside {outer}, which is writable")


class Mount(Record):
    """A tree of the image and its place in the sandbox."""

    source: str = Field(description="Relative to the image's folder, or absolute.")
    target: Annotated[str, AfterValidator(_normal)]
    mode: Literal["ro", "copy", "rw"] = Field(
        description="`ro`: read-only. `copy`: a private copy for each sandbox. "
        "`rw`: the tree itself, writable, to build an image in a sandbox."
    )


class ProcessImage(Record):
    """The contents of `image.json`. The image's name is its folder's absolute path."""

    schema_version: Literal[1] = 1
    digest: str = Field(
        pattern=r"^sha256:[0-9a-f]{64}$", description="Of everything that the image was made from."
    )
    mounts: tuple[Mount, ...]
    env: dict[str, str] = Field(default_factory=dict)
    workdir: Literal["/testbed"] = "/testbed"

    @model_validator(mode="after")
    def _no_mount_inside_a_writable_one(self) -> Self:
        check_targets((mount.target, mount.mode != "ro") for mount in self.mounts)
        return self

    def check_binds(self, binds: Sequence[Bind]) -> None:
        """Raises ValueError when one has no place in a sandbox of the image."""
        mounts = [(mount.target, mount.mode != "ro") for mount in self.mounts]
        own = [(target, True) for target in _WRITABLE]
        check_targets([*own, *mounts, *((_normal(bind.target), bind.writable) for bind in binds)])

    @classmethod
    def load(cls, folder: Path) -> Self:
        """The image in a folder. Raises ImageMissingError when there is none or it is malformed."""
        path = folder / FILE
        try:
            return cls.model_validate_json(path.read_bytes())
        except OSError as error:
            raise ImageMissingError(f"no process image in {folder}: {error.strerror}") from None
        except ValidationError as error:
            first = error.errors()[0]
            field = ".".join(str(part) for part in first["loc"])
            raise ImageMissingError(f"{path}: {field}: {first['msg']}") from None

    def save(self, folder: Path) -> None:
        """Write `image.json`, last, into a folder that has all the trees."""
        temporary = folder / f".{FILE}"
        temporary.write_text(self.model_dump_json(indent=2) + "\n")
        temporary.rename(folder / FILE)
