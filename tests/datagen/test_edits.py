"""The edit log: what commands and tools change, in the words of both agents."""

from typing import Any

import pytest

from harness.agents.rehearsal import _command, script
from harness.datagen.edits import Shells, edit_log, repository_path, tool_operations
from harness.datagen.edits_python import read_program
from harness.datagen.edits_shell import Kind, Shell
from harness.records import Event
from harness.suites.load import load_suite
from pi_extractors.diffs import new_path, old_path, parse_diff
from tests.leakage.filter_suites import diff

PATCH = diff("pkg/a.py")


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("cat > a.py <<'EOF'\nx = 1\nEOF", [("write", "a.py")]),
        ("cat <<EOF >> pkg/a.py\nx\nEOF\n", [("insert", "pkg/a.py")]),
        ("echo x >a.py", [("write", "a.py")]),
        ("echo x | tee -a a.py b.py", [("insert", "a.py"), ("insert", "b.py")]),
        ("sed -i 's/a/b/' a.py b.py", [("program", "a.py"), ("program", "b.py")]),
        ("sed -i -e 's/a/b/' -e 's/c/d/' a.py", [("program", "a.py")]),
        ("sed -i.bak -E 's/a/b/' a.py", [("program", "a.py")]),
        ("perl -pi -e 's/a/b/' a.py", [("program", "a.py")]),
        ("cd pkg && sed -i 's/a/b/' ./a.py", [("program", "pkg/a.py")]),
        ("cp x.py a.py && rm x.py", [("program", "a.py"), ("remove", "x.py")]),
        ("mv a.py b.py", [("remove", "a.py"), ("program", "b.py")]),
        ("git mv a.py b.py", [("remove", "a.py"), ("program", "b.py")]),
        (f"git apply <<'P'\n{PATCH}P", [("patch", "pkg/a.py")]),
        (f"patch -p1 <<'P'\n{PATCH}P\n", [("patch", "pkg/a.py")]),
        (f"cat > /tmp/p <<'P'\n{PATCH}P\ngit apply /tmp/p", [("patch", "pkg/a.py")]),
        (f"cat > /tmp/p <<'P'\n{PATCH}P\npatch -p1 < /tmp/p", [("patch", "pkg/a.py")]),
        ("bash -c \"sed -i 's/a/b/' a.py\"", [("program", "a.py")]),
        ("bash <<'S'\nsed -i 's/a/b/' a.py\nS", [("program", "a.py")]),
        ("python - <<'E'\nopen('a.py', 'w').write('x')\nE", [("program", "a.py")]),
        ("python -c \"open('a.py', mode='a').write('x')\"", [("program", "a.py")]),
        (
            "cat > /tmp/f.py <<'E'\nfrom pathlib import Path\np = Path('pkg') / 'a.py'\n"
            "p.write_text(p.read_text().replace('a', 'b'))\nE\npython3 /tmp/f.py",
            [("replace", "pkg/a.py")],
        ),
        ("git checkout -- a.py", [("revert", "a.py")]),
        ("git stash", [("revert", "")]),
        ("git reset --hard HEAD", [("revert", "")]),
    ],
)
def test_commands_that_change_files(command: str, expected: list[tuple[str, str]]) -> None:
    """Paths are absolute; scratch files outside the repository are not asked for here."""
    found = [(one.kind.value, one.path) for one in Shell("/testbed").run(command)]
    inside = [(kind, path and repository_path(path)) for kind, path in found]
    assert [one for one in inside if one[1] is not None] == expected


@pytest.mark.parametrize(
    "command",
    [
        "cat a.py 2>/dev/null",
        "grep -n 'a > b' pkg/a.py",
        "sed -n '1,5p' a.py",
        "python -m pytest tests 2>&1 | tail",
        "python -c \"print(open('a.py').read())\"",
        "git apply --check <<'P'\n" + PATCH + "P",
        "git apply <<'P'\nno diff\nP",
        "git stash list",
        "echo 'cat > a.py'",
        "echo x > /dev/null",
        "cat <<'EOF'\nsed -i s/a/b/ a.py\nEOF",
        "'unclosed",
    ],
)
def test_commands_that_change_nothing(command: str) -> None:
    """However much they look like it."""
    assert [one for one in Shell("/testbed").run(command) if repository_path(one.path)] == []


def test_content_is_kept_where_it_is_known() -> None:
    """For the comparison with the gold patch."""
    (write,) = Shell("/testbed").run("cat > a.py <<'EOF'\nx = 1\n  y\nEOF")
    assert (write.kind, write.new) == (Kind.WRITE, "x = 1\n  y\n")
    (replace,) = Shell("/testbed").run(
        "python - <<'E'\nimport json, pathlib\npath, old, new = json.loads("
        '\'["a.py", "x\\\\n", "y\\\\n"]\')\nf = pathlib.Path(path)\n'
        "f.write_text(f.read_text().replace(old, new, 1))\nE"
    )
    assert (replace.path, replace.old, replace.new) == ("/testbed/a.py", "x\n", "y\n")


@pytest.mark.parametrize(
    "source", ["def (", "open(name, 'w')", "x" * 200_000, "(" * 5000, "open('a.py')"]
)
def test_programs_that_write_nothing_known(source: str) -> None:
    """Broken, computed, huge or nested programs too."""
    assert read_program(source).writes == ()


def event(kind: Any, text: str, step: int, **data: Any) -> Event:
    """An event at a step."""
    return Event(step=step, seconds=0, kind=kind, text=text, data=data)


def log(*pairs: tuple[str, str], step: int | None = None) -> list[tuple[int, str]]:
    """The edit log of actions with their observations, one at each step."""
    events = []
    for number, (action, seen) in enumerate(pairs, start=1):
        tool = action.split(":")[0]
        events += [event("action", action, number), event("observation", seen, number, tool=tool)]
    return [(one.step, one.path) for one in edit_log(events, step=step)]


EDIT = "file_editor: str_replace /testbed/a b.py \n[old_str]\nx\n \n[new_str]\ny\n"


def test_the_editor_of_openhands() -> None:
    """Names with spaces, refusals, views."""
    assert log((EDIT, "edited")) == [(1, "a b.py")]
    assert log((EDIT, "ERROR:\nNo replacement was performed")) == []
    assert log(("file_editor: view /testbed/a.py", "...")) == []
    assert log(("file_editor: create /testbed/n.py file_text=x", "made")) == [(1, "n.py")]
    assert log(("file_editor: create /tmp/n.py file_text=x", "made")) == []
    assert log(("file_editor: create /testbed/.git/config file_text=x", "made")) == []


def test_the_log_at_a_step_has_what_is_in_effect() -> None:
    """Undone and reverted edits are gone from then on, not before."""
    actions = [
        (EDIT, "edited"),
        (EDIT, "edited"),
        ("file_editor: undo_edit /testbed/a b.py", "undone"),
        ("terminal: echo x > c.py", ""),
        ("terminal: git checkout -- c.py", ""),
        ("terminal: git reset --hard", ""),
    ]
    assert log(*actions, step=0) == []
    assert log(*actions, step=2) == [(1, "a b.py"), (2, "a b.py")]
    assert log(*actions, step=3) == [(1, "a b.py")]
    assert log(*actions, step=4) == [(1, "a b.py"), (4, "c.py")]
    assert log(*actions, step=5) == [(1, "a b.py")]
    assert log(*actions) == []


def test_a_terminal_keeps_its_folder_and_a_command_of_its_own_does_not() -> None:
    """OpenHands has one shell, mini a new one for each command."""
    sed = "sed -i 's/a/b/' a.py"
    assert log(("terminal: cd pkg", ""), (f"terminal: {sed}", "")) == [(2, "pkg/a.py")]
    assert log(("cd pkg", ""), (sed, "")) == [(2, "a.py")]
    for tool, path in (("terminal", "/testbed/pkg/a.py"), ("bash", "/testbed/a.py")):
        shells = Shells()
        assert tool_operations(tool, {"command": "cd pkg"}, shells) == []
        (found,) = tool_operations(tool, {"command": sed}, shells)
        assert found.path == path


def test_the_gold_patches_played_through_a_shell_are_logged() -> None:
    """All of `pypi-mini`: the log has exactly the files of the gold patch."""
    for instance in load_suite("pypi-mini").instances:
        pairs = [(_command(call), "") for call in script(instance)]
        files = parse_diff(instance.patch, "patch")
        paths = {path for file in files for path in (old_path(file), new_path(file)) if path}
        assert {path for _, path in log(*pairs)} == paths
