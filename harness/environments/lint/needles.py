"""Lines that a patch adds and a look for them in files."""

from collections.abc import Iterable
from dataclasses import dataclass

from harness.environments.image_files import Data

_SHORTEST = 12
_PROBES = 16
_FEW = 3
_ALONE = 30


@dataclass(frozen=True)
class Needles:
    """The added lines of a patch that are long enough to mean something, without their indent."""

    lines: tuple[bytes, ...]

    @classmethod
    def of(cls, patch: str) -> "Needles":
        """The distinct added lines, the longest first."""
        added = {
            line[1:].strip().encode()
            for line in patch.splitlines()
            if line.startswith("+") and not line.startswith("+++ ")
        }
        long = [line for line in added if len(line) >= _SHORTEST and any(map(_is_letter, line))]
        return cls(tuple(sorted(long, key=lambda line: (-len(line), line))))

    def find(self, data: Data, *, all_lines: bool = False) -> frozenset[bytes]:
        """The lines that occur in data; none when, without `all_lines`, no long one does."""
        if not all_lines and not any(data.find(line) >= 0 for line in self.lines[:_PROBES]):
            return frozenset()
        return frozenset(line for line in self.lines if data.find(line) >= 0)

    def tells(self, found: Iterable[bytes], known: frozenset[bytes]) -> frozenset[bytes]:
        """The found lines when they give the patch away, none when they may be chance.

        `known` lines are in the base commit already. At least half of the others must be there,
        and where the patch has few others, all of them with something to say.
        """
        telling = frozenset(self.lines) - known
        there = telling.intersection(found)
        enough = 2 * len(there) >= len(telling) and len(there) >= _FEW
        if not enough and not (there == telling and sum(map(len, there)) >= _ALONE):
            return frozenset()
        return there


def _is_letter(byte: int) -> bool:
    return 65 <= byte <= 90 or 97 <= byte <= 122
