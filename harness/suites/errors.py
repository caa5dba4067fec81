"""What goes wrong with a suite as a whole, and hints for misspelt names."""

import difflib
from collections.abc import Iterable


class SuiteError(ValueError):
    """A suite cannot be found, read or trusted. The message says what to do."""


def nearest(name: str, valid: Iterable[str]) -> str | None:
    """The valid name that is most like a misspelt one, if any is."""
    by_case = {one.casefold(): one for one in valid}
    near = difflib.get_close_matches(name.casefold(), by_case, n=1)
    return by_case[near[0]] if near else None


def did_you_mean(name: str, valid: Iterable[str]) -> str:
    """`; did you mean …?` with the nearest valid name, or nothing when none is near."""
    near = nearest(name, valid)
    return f"; did you mean {near!r}?" if near else ""
