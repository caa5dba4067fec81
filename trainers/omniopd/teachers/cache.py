"""Answers on disk, by content."""

import os
import threading
from pathlib import Path

from pydantic import ValidationError

from harness.records.base import Record
from trainers.engine.errors import TeacherError
from trainers.omniopd.teachers.parts import Part
from trainers.omniopd.texts import Answer

_MOST_BYTES = 2**26


class _Kept(Record):
    """A file. part: the digest of what was asked."""

    key: str
    part: str
    answer: Answer


class AnswerCache:
    """A folder with a JSON file for each answer. Several processes may share it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def get(self, key: str) -> Answer | None:
        """What was put, or none; a damaged file counts as none, and is written anew."""
        try:
            with self._path(key).open("rb") as file:
                kept = _Kept.model_validate_json(file.read(_MOST_BYTES))
        except (FileNotFoundError, ValidationError):
            return None
        return kept.answer if kept.key == key else None

    def put(self, key: str, part: Part, answer: Answer) -> None:
        """Keep an answer, whole or not at all. Raises TeacherError where that cannot be."""
        kept = _Kept(key=key, part=part.sha256, answer=answer)
        write_atomically(self._path(key), kept.model_dump_json().encode())

    def _path(self, key: str) -> Path:
        return self.folder / key[:2] / f"{key}.json"


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file that is there as a whole. Raises TeacherError with the system's words."""
    draft = path.with_suffix(f".{os.getpid()}-{threading.get_ident()}.draft")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        draft.write_bytes(data)
        draft.replace(path)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise TeacherError(
            f"{path}: a teacher's answer cannot be kept ({error}); make room, and the same command "
            "goes on"
        ) from None
