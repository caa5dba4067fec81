"""Grades by content: the same patch on the same image by the same rules is graded once."""

import gzip
import hashlib
import json
import os
import tempfile
from pathlib import Path

from pydantic import ValidationError

from harness.records import Grade, Instance, Verdict, encode_patch

_LASTING = {Verdict.RESOLVED, Verdict.UNRESOLVED, Verdict.PATCH_FAILED}


def cache_key(instance: Instance, patch: str, image_digest: str, rules: dict[str, object]) -> str:
    """SHA-256 over everything that decides a verdict.

    `rules` are the grader's version and the options that a verdict depends on.
    """
    facts = {
        "patch": hashlib.sha256(encode_patch(patch)).hexdigest(),
        "image": image_digest,
        "eval_script": instance.eval_script,
        "parser": instance.log_parser,
        "eval_type": instance.eval_type,
        "gold": hashlib.sha256(instance.patch.encode()).hexdigest(),
        "fail_to_pass": sorted(instance.FAIL_TO_PASS),
        "pass_to_pass": sorted(instance.PASS_TO_PASS),
        "rules": rules,
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


class GradeCache:
    """A folder of grades and their logs, safe for several processes.

    Time-outs and infrastructure failures are not kept: they may differ next time.
    """

    def __init__(self, root: Path) -> None:
        self._root = root

    def get(self, key: str) -> tuple[Grade, bytes] | None:
        """The grade and its log, or None. A damaged entry is a miss."""
        folder = self._folder(key)
        try:
            grade = Grade.model_validate_json((folder / "grade.json").read_bytes())
            log = gzip.decompress((folder / "eval.log.gz").read_bytes())
        except (OSError, EOFError, ValidationError):
            return None
        return grade.model_copy(update={"cached": True}), log

    def put(self, grade: Grade, log: bytes) -> None:
        """Keep a grade, when its verdict is one that lasts."""
        if grade.verdict not in _LASTING or grade.cached:
            return
        folder = self._folder(grade.cache_key)
        folder.mkdir(parents=True, exist_ok=True)
        _replace(folder / "eval.log.gz", gzip.compress(log, compresslevel=3, mtime=0))
        _replace(folder / "grade.json", grade.model_dump_json().encode())

    def _folder(self, key: str) -> Path:
        return self._root / key[:2] / key[2:]


def _replace(path: Path, data: bytes) -> None:
    with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
        file.write(data)
    os.replace(file.name, path)  # noqa: PTH105
