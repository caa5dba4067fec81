"""Every kind of sandbox: the patch of what an agent did, whatever else it did."""

import shlex
from collections.abc import Callable

import pytest

from harness.sandboxes import shell
from harness.sandboxes.base import ExecResult, Sandbox

Run = Callable[..., ExecResult]

_COMMIT = "git -c user.name=a -c user.email=a@b -c core.autocrlf=false commit -q -m"
_REPOSITORY = rf"""
set -e
export GIT_AUTHOR_DATE='2020-01-01 00:00 +0000' GIT_COMMITTER_DATE='2020-01-01 00:00 +0000'
cd /testbed
git init -q .
printf 'one\ntwo\nthree\n' > text.py
printf 'gone\n' > gone.py
seq 100 > moved.py
printf '\0\1\2binary' > data.bin
printf 'echo\n' > run.sh
printf 'caf\351\nline\n' > latin.txt
printf '*.log\n/ignored/\n' > .gitignore
printf '*.bat text eol=crlf\n' > .gitattributes
printf 'a\r\nb\r\n' > dos.bat
mkdir build && echo tracked > build/tracked.py
git add --force --all
{_COMMIT} base
git rev-parse HEAD
"""
# What a diff must bring to another sandbox: names, modes and contents.
_TREE = (
    "git ls-files -z -c -o --exclude-standard -x __pycache__ -x '*.egg-info'"
    " | sort -zu | while IFS= read -rd '' f; do [ -e \"$f\" ] &&"
    ' echo "$(stat -c %a "$f") $(sha256sum <"$f") $f"; done; true'
)


@pytest.fixture
def base(run: Run) -> str:
    """The base commit of a repository in /testbed."""
    return _make(run)


def _make(run: Run) -> str:
    result = run(_REPOSITORY)
    assert result.exit_code == 0, result.text
    return result.text.strip()


def _paths(patch: str) -> list[str]:
    return [li.split(" b/")[-1] for li in patch.splitlines() if li.startswith("diff --git ")]


def test_no_change_is_no_patch(sandbox: Sandbox, base: str) -> None:
    assert sandbox.diff(base) == ""


def test_a_patch_brings_every_change_to_another_sandbox(
    sandbox: Sandbox, run: Run, base: str, start: Callable[..., Sandbox]
) -> None:
    changes = r"""
        printf 'one\n2\nthree\nno newline' > text.py
        rm gone.py
        mkdir sub && git mv moved.py sub/moved.py && echo more >> sub/moved.py
        printf '\0\1\3binary\377' > data.bin
        head -c 100000 /dev/urandom > new.bin
        chmod 755 run.sh
        printf 'th\351\nline\n' > latin.txt
        printf 'na\357ve\n' > new-latin.txt
        printf 'a\r\nc\r\n' > dos.bat
        printf 'x' > 'odd "name" ü
        '
        ln -s text.py link
        touch empty.py
        echo changed > build/tracked.py
        : > .gitattributes.d
    """
    assert run(changes).exit_code == 0
    patch = sandbox.diff(base)
    other = start()
    assert _make(lambda command: other.exec(command, timeout=30)) == base
    applied = other.exec(["git", "apply", "-"], timeout=30, stdin=patch.encode())
    assert applied.exit_code == 0, applied.text
    assert other.exec(_TREE, timeout=30).text == run(_TREE).text
    assert {"gone.py", "moved.py", "sub/moved.py", "build/tracked.py"} <= set(_paths(patch))
    assert "-two\n+2\n" in patch


def test_committed_and_staged_changes_count(sandbox: Sandbox, run: Run, base: str) -> None:
    run(f"echo committed > text.py; git add -A; {_COMMIT} mine; rm gone.py; git rm -q moved.py")
    run("echo staged > new.py; git add new.py")
    assert _paths(sandbox.diff(base)) == ["gone.py", "moved.py", "new.py", "text.py"]


def test_a_diff_changes_nothing(sandbox: Sandbox, run: Run, base: str) -> None:
    run("echo new > new.py; echo staged > text.py; git add text.py")
    before = run("git status --porcelain; ls -a . /tmp; find .git | sort").text
    sandbox.diff(base)
    assert run("git status --porcelain; ls -a . /tmp; find .git | sort").text == before


def test_caches_and_ignored_files_are_left_out(sandbox: Sandbox, run: Run, base: str) -> None:
    run("""
        mkdir -p a/__pycache__ .pytest_cache/v x.egg-info build/lib dist ignored a/build
        for f in a/__pycache__/m.pyc b.pyc .pytest_cache/v/x x.egg-info/PKG-INFO build/lib/x.py \\
            dist/x.whl a.log ignored/x a/build/kept.py kept.py; do echo x > $f; done
        echo private >> .git/info/exclude; touch private
    """)
    assert _paths(sandbox.diff(base)) == ["a/build/kept.py", "kept.py"]


def test_a_nested_repository_is_left_out(sandbox: Sandbox, run: Run, base: str) -> None:
    run(f"""
        git init -q empty; touch empty/file
        git init -q full; cd full; touch file; git add .; {_COMMIT} x; cd ..
        echo kept > kept.py
    """)
    assert _paths(sandbox.diff(base)) == ["kept.py"]


_TRAP = "touch /tmp/sprung; cat"
_HOSTILE_CONFIG = [
    ("filter.evil.clean", _TRAP),
    ("filter.evil.smudge", _TRAP),
    ("filter.evil.process", _TRAP),
    ("filter.evil.required", "true"),
    ("diff.evil.command", _TRAP),
    ("diff.evil.textconv", _TRAP),
    ("diff.external", _TRAP),
    ("core.fsmonitor", _TRAP),
    ("core.hooksPath", "/testbed/hooks"),
    ("core.pager", _TRAP),
    ("core.attributesFile", "/testbed/attributes"),
    ("core.excludesFile", "/testbed/everything"),
    ("core.worktree", "/tmp"),
    ("core.sshCommand", _TRAP),
    ("diff.noprefix", "true"),
    ("diff.context", "0"),
    ("color.ui", "always"),
]


@pytest.mark.parametrize("where", ["--local", "--global"])
def test_nothing_of_the_repository_s_configuration_runs(
    sandbox: Sandbox, run: Run, base: str, where: str
) -> None:
    config = " && ".join(
        f"git config {where} {name} {shlex.quote(value)}" for name, value in _HOSTILE_CONFIG
    )
    setup = f"""
        echo new > new.py; echo 'one' > text.py
        echo '* filter=evil diff=evil' > .gitattributes
        echo '* filter=evil diff=evil' > attributes
        echo '*' > everything
        mkdir hooks
        for hook in post-index-change pre-commit fsmonitor-watchman post-checkout; do
            printf '#!/bin/sh\\ntouch /tmp/sprung\\n' > hooks/$hook; chmod 755 hooks/$hook
        done
        cp hooks/* .git/hooks/
        {config}
    """
    assert run(setup).exit_code == 0
    patch = sandbox.diff(base)
    assert run("test -e /tmp/sprung").exit_code == 1
    assert {"new.py", "text.py", ".gitattributes", "attributes", "everything"} <= set(_paths(patch))
    assert "--- a/text.py\n+++ b/text.py\n@@ -1,3 +1 @@\n one\n-two\n-three\n" in patch


@pytest.mark.parametrize(
    "attribute", ["-diff", "binary", "diff", "-text", "text eol=crlf", "export-ignore", "ident"]
)
def test_attributes_do_not_change_a_patch(
    sandbox: Sandbox, run: Run, base: str, attribute: str
) -> None:
    run(f"echo '*.py {attribute}' | tee .gitattributes > .git/info/attributes; echo one > text.py")
    assert "@@ -1,3 +1 @@\n one\n-two\n-three\n" in sandbox.diff(base)


def test_index_flags_hide_nothing(sandbox: Sandbox, run: Run, base: str) -> None:
    run("""
        git update-index --assume-unchanged text.py
        git update-index --skip-worktree gone.py
        git sparse-checkout set nothing 2>/dev/null
        git checkout -q -- . ; git config core.sparseCheckout false
        printf 'one\n' > text.py; rm -f gone.py; echo x > .git/index
    """)
    assert {"text.py", "gone.py"} <= set(_paths(sandbox.diff(base)))


def test_replaced_objects_change_nothing(sandbox: Sandbox, run: Run, base: str) -> None:
    run(f"echo other > text.py; git add -A; {_COMMIT} other; git replace {base} HEAD")
    assert _paths(sandbox.diff(base)) == ["text.py"]


def test_git_s_environment_does_not_matter(sandbox: Sandbox, run: Run, base: str) -> None:
    run("echo x > text.py; rm -rf .git/hooks .git/refs .git/HEAD .git/config .git/logs")
    assert _paths(sandbox.diff(base)) == ["text.py"]


@pytest.mark.parametrize(
    "harm",
    [
        "rm -rf .git",
        "rm -rf .git/objects",
        "rm -rf .git && git init -q .",
        "rm -rf .git && echo 'gitdir: /nowhere' > .git",
        "find .git/objects -type f -exec chmod 644 {} + -exec truncate -s 0 {} +",
        "rm -rf .git/objects && ln -s /dev/zero .git/objects",
        "cd / && find testbed -mindepth 1 -delete",
    ],
)
def test_an_unreadable_repository(sandbox: Sandbox, run: Run, base: str, harm: str) -> None:
    assert run(harm).exit_code == 0
    with pytest.raises(ValueError, match="/testbed"):
        sandbox.diff(base)


def test_a_repository_that_keeps_git_waiting(
    sandbox: Sandbox, run: Run, base: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shell, "_DIFF_SECONDS", 2)
    run("rm .git/info/exclude; mkfifo .git/info/exclude")
    with pytest.raises(ValueError, match="no patch after 2 s"):
        sandbox.diff(base)


def test_a_patch_over_the_limit(
    sandbox: Sandbox, run: Run, base: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shell, "DIFF_BYTES", 10_000)
    run("seq 10000 > large.py")
    with pytest.raises(ValueError, match=r"the patch has [0-9,]+ bytes"):
        sandbox.diff(base)


@pytest.mark.parametrize("commit", ["HEAD", "--output=/tmp/x", "0" * 39 + "; id", "", "main"])
def test_only_a_commit_id_is_a_base(sandbox: Sandbox, commit: str) -> None:
    with pytest.raises(ValueError, match="no commit id"):
        sandbox.diff(commit)
