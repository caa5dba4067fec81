"""The resolver `pylsp` with the real python-lsp-server."""

import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from pi_extractors.call_graph.pylsp import pylsp
from pi_extractors.call_graph.resolver import Answer, Site
from pi_extractors.call_graph.workspace import Workspace

PACKAGE = {
    "src/pkg/__init__.py": "from .a import helper\n",
    "src/pkg/a.py": (
        "def helper():\n    pass\n\n\n"
        "class Base:\n    def run(self):\n"
        "        '" + "\U0001f600" * 8 + "'; helper()\n\n\n"
        "def go(x: Base):\n    \f\n    x.run()\n    other = helper\n    other()\n    len(x)\n"
    ),
    "run.py": "import pkg\n\npkg.helper()\npkg.nothing()\n",
}


@pytest.fixture(scope="module")
def answers() -> Mapping[str, Answer]:
    """The answers about every call of the package, by path."""
    return _ask(PACKAGE)


def _ask(texts: Mapping[str, str]) -> Mapping[str, Answer]:
    with Workspace(texts, [".", "src"]) as workspace:
        session = pylsp().open(workspace)
        try:
            return {path: session.resolve(path, text, _calls(text)) for path, text in texts.items()}
        finally:
            session.close()


def _calls(text: str) -> list[Site]:
    return [
        Site(number, match.start(1), match[1])
        for number, line in enumerate(text.split("\n"), start=1)
        if not line.startswith(("def", "class", "    def"))
        for match in re.finditer(r"(\w+)\(", line)
    ]


def _targets(answer: Answer) -> dict[int, list[tuple[str | None, int]]]:
    return {
        site.line: [(one.path, one.line) for one in found]
        for site, found in answer.locations.items()
    }


def test_definitions_assigned_names_and_the_outside(answers: Mapping[str, Answer]) -> None:
    assert _targets(answers["src/pkg/a.py"]) == {
        7: [("src/pkg/a.py", 1)],
        12: [("src/pkg/a.py", 6)],
        14: [("src/pkg/a.py", 1)],
        15: [(None, 0)],
    }


def test_other_modules_are_found_by_the_import_roots(answers: Mapping[str, Answer]) -> None:
    assert _targets(answers["run.py"]) == {3: [("src/pkg/a.py", 1)]}
    assert not any(answer.skipped for answer in answers.values())


def test_nothing_of_the_repository_is_run(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    run = f"open({str(mark)!r}, 'w').close()\n\n\ndef boom():\n    pass\n"
    names = ("gi", "numpy", "numbers", "sitecustomize", "pylsp", "jedi", "conftest")
    texts = {f"{name}.py": run for name in names}
    texts["a.py"] = (
        "import gi, numpy, decimal\n\ngi.boom()\ndecimal.Decimal(1)\nother = numpy.boom\nother()\n"
    )
    found = _targets(_ask(texts)["a.py"])
    assert found[3] == [("gi.py", 4)]
    assert found[6] == [("numpy.py", 4)]
    assert not mark.exists()
