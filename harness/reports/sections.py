"""A page of sections with figures: one HTML file, complete in itself."""

import base64
import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from harness import __version__
from harness.reports.figures import blocks
from harness.reports.text import line

_STYLES = ("report.css", "figures.css")


@dataclass(frozen=True)
class Section:
    """One part of a page.

    anchor: its place in the page's address. figures: see `blocks`. images: captions and SVG files'
    text. files: where its numbers come from.
    """

    anchor: str
    title: str
    texts: tuple[str, ...] = ()
    figures: Mapping[str, Any] = field(default_factory=dict)
    images: tuple[tuple[str, str], ...] = ()
    files: tuple[str, ...] = ()


def write_sections(
    sections: Sequence[Section], destination: Path, *, title: str, question: str, file: str
) -> None:
    """Write a page, replacing it whole; `file` has its numbers. Text is escaped. Raises OSError."""
    environment = Environment(
        loader=PackageLoader("harness.reports"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["line"] = line
    assert environment.loader
    style = "\n".join(environment.loader.get_source(environment, name)[0] for name in _STYLES)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    page = environment.get_template("sections.html").render(
        title=title,
        question=question,
        file=file,
        sections=[_encoded(one) for one in sections],
        figures={one.anchor: blocks(one.figures) for one in sections},
        style=Markup(style),  # noqa: S704
        style_hash=f"sha256-{digest}",
        version=__version__,
    )
    destination.parent.mkdir(parents=True, exist_ok=True)
    draft = destination.with_name(f".{destination.name}.{os.getpid()}")
    try:
        draft.write_text(page, encoding="utf-8", errors="replace")
        draft.replace(destination)
    finally:
        draft.unlink(missing_ok=True)


def _encoded(section: Section) -> dict[str, Any]:
    """A section with its images as data: shown as images, scripts in them do not run."""
    images = [(caption, base64.b64encode(svg.encode()).decode()) for caption, svg in section.images]
    return vars(section) | {"images": images}
