"""From an issue's text to modules."""

import time

import pytest

from pi_extractors.call_graph.graph import SymbolId
from pi_extractors.call_graph.issue_modules import IssueModules, issue_modules

IDS = [
    SymbolId(one)
    for one in (
        "src/pkg/__init__.py::",
        "src/pkg/api.py::",
        "src/pkg/api.py::get",
        "src/pkg/client.py::",
        "src/pkg/client.py::Session",
        "src/pkg/client.py::Session.send_request",
        "src/pkg/client.py::Session.close",
        "src/pkg/core/__init__.py::",
        "src/pkg/core/engine.py::",
        "src/pkg/core/engine.py::run_loop",
        "src/pkg/core/utils.py::",
        "src/pkg/core/utils.py::Pool",
        "src/pkg/core/utils.py::Pool.close",
        "src/pkg/utils.py::",
        "src/pkg/utils.py::guess_name",
        "docs/conf.py::",
        "docs/conf.py::run_loop",
        "tests/test_client.py::",
        "tests/test_client.py::Session",
        "tests/test_client.py::test_send_request",
    )
]
TESTS = {"tests/test_client.py"}


def ask(text: str) -> IssueModules:
    return issue_modules(text, IDS, TESTS)


def kinds(text: str) -> set[str]:
    """The kinds of all evidence."""
    return {one.kind for module in ask(text).modules for one in module.evidence}


@pytest.mark.parametrize(
    ("text", "path", "kind"),
    [
        ("Crash\nIt is in src/pkg/core/utils.py.", "src/pkg/core/utils.py", "path"),
        ("See https://github.com/o/r/blob/main/src/pkg/utils.py#L5", "src/pkg/utils.py", "path"),
        ("Crash\nin engine.py", "src/pkg/core/engine.py", "path"),
        ("Crash\nC:\\site\\pkg\\core\\engine.py is wrong", "src/pkg/core/engine.py", "path"),
        ("Crash\npkg.core.utils breaks", "src/pkg/core/utils.py", "module"),
        ("Crash\nsince pkg.core.engine.run_loop ends", "src/pkg/core/engine.py", "module"),
        ("Crash\n`Session.close` leaks", "src/pkg/client.py", "name"),
        ("Crash\n`Pool.close()` leaks", "src/pkg/core/utils.py", "name"),
        ("Crash\nthe name from guess_name is wrong", "src/pkg/utils.py", "name"),
        ("Crash\n>>> from pkg.api import get", "src/pkg/api.py", "import"),
        ("run_loop never ends", "src/pkg/core/engine.py", "name"),
    ],
)
def test_what_names_a_module(text: str, path: str, kind: str) -> None:
    found = ask(text)
    assert found.modules[0].path == path
    assert kind in {one.kind for one in found.modules[0].evidence}
    assert found.fallback is None


def test_the_deepest_frame_counts_most() -> None:
    text = (
        "Crash\n"
        '  File "/venv/lib/python3.9/site-packages/pkg/api.py", line 3, in get\n'
        '  File "/venv/lib/python3.9/site-packages/pkg/core/engine.py", line 9, in run_loop\n'
        '  File "/usr/lib/python3.9/socket.py", line 9, in connect\n'
    )
    found = ask(text)
    assert [one.path for one in found.modules[:2]] == ["src/pkg/core/engine.py", "src/pkg/api.py"]
    assert found.symbols[SymbolId("src/pkg/core/engine.py::run_loop")] == 6.0
    points = [[(e.kind, e.points) for e in one.evidence] for one in found.modules[:2]]
    assert ("traceback", 6.0) in points[0]
    assert ("traceback", 0.7 * 6.0) in points[1]
    assert "path" not in {kind for one in points for kind, _ in one}


def test_definitions_that_are_named_have_points() -> None:
    symbols = ask("Broken\n`Session.send_request` fails").symbols
    assert list(symbols) == ["src/pkg/client.py::Session.send_request"]


def test_tests_are_never_named() -> None:
    found = ask("test_send_request fails in tests/test_client.py, class Session")
    assert "tests/test_client.py" not in {one.path for one in found.modules}
    assert not any(symbol.startswith("tests/") for symbol in found.symbols)


def test_words_are_a_stated_fallback() -> None:
    found = ask("Sending a request twice\nThe second one waits for ever.")
    assert found.modules[0].path == "src/pkg/client.py"
    assert {one.kind for one in found.modules[0].evidence} == {"word"}
    assert "share its words" in (found.fallback or "")


def test_an_issue_about_nothing_has_a_stated_fallback() -> None:
    found = ask("他们说 1 + 1 = 3")
    assert found.modules[0].path == "src/pkg/client.py"
    assert "most definitions" in (found.fallback or "")


def test_a_repository_without_modules() -> None:
    found = issue_modules("crash in a.py", [], ())
    assert found.modules == ()


def test_comments_of_issue_forms_are_not_read() -> None:
    assert kinds("Bug\n<!-- see src/pkg/api.py -->\n`guess_name`") == {"name", "word"}
    assert kinds("Bug\n<!-- see src/pkg/api.py") == {"size"}


def test_the_same_text_gives_the_same_ranking() -> None:
    text = "close Session Pool run_loop\n" + "pkg.utils pkg.core " * 50
    assert ask(text) == issue_modules(text, reversed(IDS), TESTS)


@pytest.mark.parametrize(
    "text",
    [
        'File "' * 50_000,
        'File "' + "a" * 300_000,
        "a." * 200_000,
        "../" * 100_000 + "x.py",
        "`" * 300_000,
        "<!--" * 80_000,
        "from a import " + "b," * 150_000,
        "\n".join(f"from m{i} import n{i}" for i in range(30_000)),
        " ".join(f"close{i}.close" for i in range(40_000)),
        "\n".join(f"x{i}/engine.py" for i in range(30_000)),
        "_a" * 150_000,
        "\n" * 300_000,
        "\ud800\x00\u202e" * 50_000,
    ],
)
def test_hostile_texts_are_read_in_bounded_time(text: str) -> None:
    same = [SymbolId(f"p{i // 5}/engine.py::C{i}.close") for i in range(20_000)]
    began = time.process_time()
    found = issue_modules(text, [*IDS, *same], TESTS)
    assert time.process_time() - began < 20
    assert found.cut
    assert len(found.modules) <= 20
