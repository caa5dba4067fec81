"""Answers on disk, by what was asked of whom."""

import hashlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import orjson
from pydantic import ValidationError

from trainers.omniopd.texts import Answer, Ask


class AnswerCache:
    """A folder of answers by key. Several processes may share it; a damaged file counts as none."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def get(self, key: str) -> Answer | None:
        """What was put."""
        return _read(self._path(key))

    def put(self, key: str, answer: Answer) -> None:
        """Keep an answer, whole or not at all. Raises OSError."""
        path = self._path(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_suffix(f".{os.getpid()}.draft")
        try:
            draft.write_bytes(orjson.dumps(answer.model_dump()))
            draft.replace(path)
        except OSError:
            draft.unlink(missing_ok=True)
            raise

    def all(self) -> Iterator[Answer]:
        """Every answer that is there."""
        for path in self.folder.glob("??/*.json"):
            if (answer := _read(path)) is not None:
                yield answer

    def _path(self, key: str) -> Path:
        return self.folder / key[:2] / f"{key}.json"


def answer_key(identity: Mapping[str, str], ask: Ask, count: int, seed: int) -> str:
    """What names an answer: the teacher, the text and how it is continued."""
    messages = [message.model_dump() for message in ask.messages]
    asked = [dict(identity), messages, ask.text, ask.tokens, count, seed]
    return hashlib.sha256(orjson.dumps(asked, option=orjson.OPT_SORT_KEYS)).hexdigest()


def _read(path: Path) -> Answer | None:
    try:
        return Answer.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None
