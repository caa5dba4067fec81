"""Hostile text made showable: control characters visible, sizes bounded."""

import re
from dataclasses import dataclass
from pathlib import Path

_COLOUR = re.compile(r"\x1b\[[0-9;:]*m")
_INVISIBLE = (
    *range(0x80, 0xA0),
    0xAD,
    0x61C,
    0x180E,
    *range(0x200B, 0x2010),
    *range(0x2028, 0x202F),
    *range(0x2060, 0x2070),
    0xFEFF,
    *range(0xFFF9, 0xFFFC),
    *range(0xE0000, 0xE0080),
)
_VISIBLE: dict[int, str] = {
    **{code: chr(0x2400 + code) for code in range(0x20) if chr(code) not in "\t\n"},
    0x7F: "\u2421",
    **{code: f"⟨U+{code:04X}⟩" for code in _INVISIBLE},
    **dict.fromkeys(range(0xD800, 0xE000), "\ufffd"),
}


def plain(text: str) -> str:
    """Text without terminal colours, with every other control or invisible character made visible.

    Direction overrides, NUL and escape sequences of model output become marks such as `⟨U+202E⟩`,
    `␀` and `␛`, so that they can neither act nor hide.
    """
    return _COLOUR.sub("", text.replace("\r\n", "\n")).translate(_VISIBLE)


def line(text: str) -> str:
    """`plain` text on one line."""
    return " ".join(plain(text).split())


@dataclass(frozen=True)
class Clip:
    """Head and tail of a text and how much lies between them."""

    head: str
    tail: str = ""
    cut: int = 0
    unit: str = "characters"

    def as_json(self) -> dict[str, object]:
        """What the page shows of it."""
        clip: dict[str, object] = {"head": plain(self.head)}
        if self.cut:
            clip |= {"tail": plain(self.tail), "cut": f"{self.cut:,} {self.unit}"}
        return clip


def clip(text: str, cap: int) -> Clip:
    """At most `cap` characters of a text: the first three quarters of them, then the last."""
    if len(text) <= cap:
        return Clip(text)
    tail = cap // 4
    return Clip(text[: cap - tail], text[len(text) - tail :], len(text) - cap)


def clip_file(path: Path, cap: int) -> Clip:
    """At most `cap` bytes of a file, without reading the rest. Raises OSError."""
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(0)
        if size <= cap:
            return Clip(file.read(cap).decode(errors="replace"))
        tail = cap // 4
        head = file.read(cap - tail)
        file.seek(size - tail)
        last = file.read(tail)
    return Clip(head.decode(errors="replace"), last.decode(errors="replace"), size - cap, "bytes")
