"""Answers that are there already, and no teacher."""

import hashlib
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path

import orjson
from pydantic import Field, ValidationError

from harness.records.base import Record
from trainers.engine.errors import TeacherError
from trainers.omniopd.teachers.cache import write_atomically
from trainers.omniopd.teachers.parts import Part, Tokens, shown
from trainers.omniopd.texts import Answer, Ask

_FOLDER = "teachers"
_MOST_BYTES = 2**20


class Described(Record):
    """Whose answers a folder has: a file of `<folder>/teachers`."""

    identity: dict[str, str]
    together: int = Field(ge=1)

    @property
    def sha256(self) -> str:
        """Digest of the identity."""
        what = orjson.dumps(self.identity, option=orjson.OPT_SORT_KEYS)
        return hashlib.sha256(what).hexdigest()

    def keep(self, folder: Path) -> None:
        """Write the file. Raises TeacherError."""
        path = folder / _FOLDER / f"{self.sha256}-{self.together}.json"
        if not path.exists():
            write_atomically(path, self.model_dump_json(indent=1).encode())


class RecordedTeacher:
    """Answers nothing: it says whose kept answers are wanted, and what is missing is an error.

    wanted: what their teacher's identity has to have, such as a temperature.
    """

    concurrency = 1

    def __init__(self, folder: Path, wanted: Mapping[str, str]) -> None:
        self._folder = folder
        self._wanted = wanted

    @cached_property
    def _described(self) -> Described:
        paths = sorted((self._folder / _FOLDER).glob("*.json"))
        found = [one for one in map(_read, paths) if one is not None]
        fitting = [one for one in found if self._wanted.items() <= one.identity.items()]
        if len(fitting) == 1:
            return fitting[0]
        if not found:
            raise TeacherError(
                f"{self._folder}: no recorded answers; set text_teacher.cache to the folder texts "
                "of a training that asked a teacher"
            )
        several = fitting or found
        keys = {key for one in several for key in one.identity}
        apart = {
            key: sorted({one.identity.get(key, "-") for one in several})
            for key in sorted(keys)
            if len({one.identity.get(key) for one in several} | {self._wanted.get(key)} - {None})
            > 1
        }
        raise TeacherError(
            f"{self._folder} has the answers of {len(found)} teachers, and {len(fitting)} of them "
            f"are as text_teacher says ({dict(self._wanted)}); they have {apart}: give the keys "
            "that name one of them, or a cache of its own"
        )

    @property
    def identity(self) -> dict[str, str]:
        """Of the teacher that was asked."""
        return self._described.identity

    @property
    def together(self) -> int:
        """As it was for that teacher."""
        return self._described.together

    def check(self, asks: Sequence[Ask]) -> None:
        """Raise TeacherError where the folder has no such teacher's answers."""
        if asks:
            _ = self._described

    def most(self, part: Part) -> Tokens:
        """Nothing."""
        return Tokens(0, 0)

    def answer(self, part: Part) -> Answer:
        """Raise TeacherError: it was not kept."""
        raise self.missing([part.ask], 1)

    def missing(self, asks: Sequence[Ask], of: int) -> TeacherError:
        """The error that says what was not kept."""
        return TeacherError(
            f"{self._folder}: no recorded answer for {len(asks)} of {of} texts, such as "
            f"{shown(asks[0].text)}: replay with the settings and the runs of the training that "
            "asked, or give a teacher (text_teacher.kind)"
        )


def _read(path: Path) -> Described | None:
    try:
        with path.open("rb") as file:
            return Described.model_validate_json(file.read(_MOST_BYTES))
    except (OSError, ValidationError):
        return None
