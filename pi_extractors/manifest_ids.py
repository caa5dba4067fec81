"""The test ids of SWE-bench manifests, in the shapes that the test runners print.

pytest: `path.py::Class::test[parameters]`. unittest and Django: `test (module.Class)`, or the first
line of the test's docstring. SymPy: the bare name.
"""

import re
from dataclasses import dataclass

_UNITTEST = re.compile(r"(\w+) \(([\w.]+)\)")


@dataclass(frozen=True, slots=True)
class ParsedId:
    """What an id says. Of `path` and `module` at most one is set.

    `module` has the classes' names at its end. Where `name` is empty, the id is `summary`: the
    first line of a docstring.
    """

    name: str
    path: str = ""
    classes: tuple[str, ...] = ()
    module: tuple[str, ...] = ()
    parameters: str = ""
    summary: str = ""


def parse_id(test_id: str) -> ParsedId:
    """Read a test id; one of no known shape is taken for a docstring's first line."""
    text = test_id.strip()
    head, bracket, parameters = text.partition("[")
    if "::" in head:
        path, *classes, name = head.split("::")
        return ParsedId(
            name.strip(), path, tuple(classes), parameters=bracket + parameters if bracket else ""
        )
    if match := _UNITTEST.match(text):
        name, dotted = match.groups()
        module = tuple(dotted.split("."))
        if len(module) > 1 and module[-1] == name:
            module = module[:-1]
        return ParsedId(name, module=module)
    if re.fullmatch(r"\w+", head.strip()):
        return ParsedId(head.strip(), parameters=bracket + parameters if bracket else "")
    return ParsedId("", summary=text)
