"""What a teacher with privileged information (PI) is shown in front of its first state."""

import hashlib
from pathlib import Path

from pydantic import ValidationError

from pi_extractors.records import PIRecord, SourceName


class PITextError(ValueError):
    """A file of PI records that cannot be used; the text says why."""


def pi_block(text: str) -> str:
    """The block that PI adapters are trained with; with nothing in it, the no-PI token."""
    return f"[PI]\n{text}\n[/PI]\n"


class PIFile:
    """The texts of one source in a file of `harness pi extract`, by instance.

    Raises PITextError for a file that cannot be read, or has no record of the source.
    """

    def __init__(self, path: Path, source: SourceName) -> None:
        self._what = f"{path}, source {source}"
        try:
            data = path.read_bytes()
            records = [PIRecord.model_validate_json(line) for line in data.splitlines() if line]
        except (OSError, ValidationError) as error:
            raise PITextError(f"{path}: not a file of PI records ({error})") from None
        self.sha256 = hashlib.sha256(data).hexdigest()
        self._texts = {one.instance_id: one.text for one in records if one.source is source}
        if not self._texts:
            raise PITextError(f"{self._what}: no record; extract it first")

    def text(self, instance_id: str) -> str:
        """The text of an instance. Raises PITextError where there is no record of it."""
        if instance_id not in self._texts:
            raise PITextError(f"{self._what}: no record of {instance_id}; extract it first")
        return self._texts[instance_id]
