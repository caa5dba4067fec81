"""Constants that may be keys: strings and whole numbers."""

LONGEST = 120


def string(text: str) -> str | None:
    """The value of a plain string literal; None for bytes, f-strings, escapes and long ones."""
    body = text.lstrip("urUR")
    if len(text) > LONGEST or body[:1] not in ("'", '"') or "\\" in body or "\n" in body:
        return None
    quote = 3 if len(body) >= 6 and body[:3] in ('"""', "'" * 3) else 1
    return body[quote:-quote]


def number(text: str) -> int | None:
    """The value of a short integer literal."""
    try:
        return int(text, 0) if len(text) < 10 else None
    except ValueError:
        return None


def first_line(literal: str) -> str:
    """The first line of a docstring, given its literal."""
    body = literal.lstrip("urUR").strip("\"'").strip()
    line = body.partition("\n")[0].strip()
    return line if len(line) <= LONGEST else line[: LONGEST - 1].rstrip() + "…"
