"""What jedi may look at beside the repository."""

import sys
import warnings
from pathlib import Path
from types import ModuleType

import pytest

from pi_extractors.call_graph.jedi_resolver import Jedi
from pi_extractors.call_graph.resolver import Location, Site
from pi_extractors.call_graph.workspace import Workspace

TEXT = "from host.vendored._collections import Fast\n\ndef use():\n    Fast()\n"


def test_a_package_that_this_process_imported_is_not_looked_into(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Jedi imports `_collections` of any package, since Python has a module of that name."""
    installed = tmp_path / "site" / "host" / "vendored"
    installed.mkdir(parents=True)
    (installed / "_collections.py").write_text(
        f"open({str(tmp_path / 'ran')!r}, 'w').close()\nclass Fast: pass\n"
    )
    for name, folder in (("host", installed.parent), ("host.vendored", installed)):
        module = ModuleType(name)
        module.__path__ = [str(folder)]
        monkeypatch.setitem(sys.modules, name, module)
    files = {"host/__init__.py": "", "host/vendored/__init__.py": "", "host/use.py": TEXT}
    workspace = Workspace(files, ["."])
    session = Jedi().open(workspace)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            answer = session.resolve("host/use.py", TEXT, [Site(4, 4, "Fast")])
    finally:
        session.close()
        workspace.close()
    assert (answer.locations, answer.skipped) == ({}, [])
    assert not (tmp_path / "ran").exists()
    assert "host.vendored._collections" not in sys.modules


def test_pythons_own_compiled_modules_are_known() -> None:
    text = "import math\ndef use():\n    math.sqrt(2)\n"
    workspace = Workspace({"use.py": text}, ["."])
    session = Jedi().open(workspace)
    try:
        answer = session.resolve("use.py", text, [Site(3, 9, "sqrt")])
    finally:
        session.close()
        workspace.close()
    assert answer.locations == {Site(3, 9, "sqrt"): [Location(None)]}
