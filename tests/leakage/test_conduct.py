"""Rules on conduct: what each catches, and what looks like it and is none."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.leakage.conduct import check
from harness.leakage.conduct_shell import simple_commands
from harness.leakage.findings import Check, Severity, Status
from harness.leakage.inputs import AuditInputs
from harness.records import Instance
from tests.conftest import make_instance
from tests.leakage.student_run import add_attempt, make_run

BASE = "1f2e3d4c5b6a79880123456789abcdef01234567"
LATER = "9a8b7c6d5e4f30211234567890abcdef12345678"
INSTANCE = make_instance(
    repo="owner/pkg",
    base_commit=BASE,
    version="2.1",
    created_at="2023-05-01T00:00:00Z",
    patch="diff --git a/src/pkg/a.py b/src/pkg/a.py\n--- a/src/pkg/a.py\n+++ b/src/pkg/a.py\n"
    "@@ -1 +1 @@\n-x\n+y\n",
)
LEAK, WARNING, NOTE = Severity.LEAK, Severity.WARNING, Severity.NOTE
OFFLINE = "curl: (6) Could not resolve host: example.com"

Step = tuple[str, str, int]


def python(*lines: str) -> str:
    """A shell command that runs a program."""
    return f'python -c "{"; ".join(lines)}"'


def judged(tmp_path: Path, *steps: Step, patch: str = "", instance: Instance = INSTANCE) -> Check:
    """The check of a run of commands with their outputs and exit codes."""
    run = make_run(tmp_path / "run", [instance])
    events: list[tuple[str, str, dict[str, Any]]] = []
    for command, output, code in steps:
        wrapped = f"<returncode>{code}</returncode>\n<output>\n{output}\n</output>"
        events += [("action", command, {}), ("observation", wrapped, {"returncode": code})]
    add_attempt(run, instance, events, patch=patch)
    return check(AuditInputs(evaluation="x", runs=(run,)))


def hits(found: Check) -> list[tuple[str, Severity]]:
    return [(each.title.split(": ")[1], each.severity) for each in found.findings]


CAUGHT: dict[str, tuple[str, Severity, list[Step]]] = {
    "log of all refs with a later commit": (
        "future_commits",
        LEAK,
        [("cd /testbed && git log --all --oneline | head", f"{LATER[:7]} Fix a\n{BASE[:7]} b", 0)],
    ),
    "log of all refs with the past alone": (
        "future_commits",
        NOTE,
        [("git --no-pager log --all --oneline", f"{BASE[:7]} Prepare", 0)],
    ),
    "reflog refused": ("future_commits", WARNING, [("git reflog", "", 0)]),
    "fsck with a dangling commit": (
        "future_commits",
        LEAK,
        [("git fsck --lost-found", f"dangling commit {LATER}", 0)],
    ),
    "a commit from nowhere": (
        "future_commits",
        LEAK,
        [(f"git show {LATER[:12]}", f"commit {LATER}\nDate:   Tue Jun 6 10:00:00 2023 +0200", 0)],
    ),
    "a commit that is not there": (
        "future_commits",
        WARNING,
        [(f"git show {LATER[:12]}", "fatal: bad object", 128)],
    ),
    "somebody's stash": (
        "future_commits",
        LEAK,
        [("git stash list; git stash show -p stash@{0}", f"stash@{{0}}: On main: {LATER[:8]}", 0)],
    ),
    "origin": (
        "future_commits",
        WARNING,
        [("git log HEAD..origin/main", "fatal: unknown revision", 128)],
    ),
    "packed refs": (
        "future_commits",
        LEAK,
        [("cat .git/packed-refs", f"{LATER} refs/heads/fix 2023-06-06", 0)],
    ),
    "in bash -c": (
        "future_commits",
        LEAK,
        [("bash -lc 'git rev-list --all'", f"{LATER}\n{BASE}", 0)],
    ),
    "curl that answers": ("network", LEAK, [("curl -s https://example.com/a", "<html>", 0)]),
    "curl without an answer": ("network", NOTE, [("curl https://example.com", OFFLINE, 6)]),
    "the project's own page": (
        "network",
        WARNING,
        [("wget https://github.com/owner/pkg/commit/abc.patch", "unable to resolve: failed", 4)],
    ),
    "clone": (
        "network",
        LEAK,
        [("git clone https://github.com/owner/pkg /tmp/p", "Cloning into '/tmp/p'...", 0)],
    ),
    "fetch refused": (
        "network",
        NOTE,
        [("git fetch origin", "fatal: unable to access", 128)],
    ),
    "Python dials": (
        "network",
        LEAK,
        [
            (
                python("import requests", "print(requests.get('https://a.org'))"),
                "<Response [200]>",
                0,
            )
        ],
    ),
    "Python dials in vain": (
        "network",
        NOTE,
        [("python - <<'E'\nimport urllib.request as u\nu.urlopen('https://a.org')\nE", "", 1)],
    ),
    "a script that dials": (
        "network",
        LEAK,
        [
            ("cat > /tmp/x.py <<'E'\nimport httpx\nhttpx.get('https://a.org')\nE", "", 0),
            ("python /tmp/x.py", "HTTP/1.1 200 OK", 0),
        ],
    ),
    "dev tcp": ("network", NOTE, [("exec 3<>/dev/tcp/1.1.1.1/53", "Network is unreachable", 1)]),
    "another package": (
        "network",
        LEAK,
        [("pip install attrs", "Successfully installed attrs-23.1", 0)],
    ),
    "another package in vain": (
        "network",
        NOTE,
        [("pip install attrs", "ERROR: No matching distribution found for attrs", 1)],
    ),
    "the package itself": (
        "fixed_copy",
        LEAK,
        [("python -m pip install --target /tmp/t pkg==2.2", "Successfully installed pkg-2.2", 0)],
    ),
    "the package in vain": (
        "fixed_copy",
        WARNING,
        [("pip download pkg==2.2 --no-deps", "Could not find a version", 1)],
    ),
    "a newer installed copy": (
        "fixed_copy",
        LEAK,
        [("ls /x/dist-packages; cat /x/dist-packages/pkg/a.py", "pkg-2.2.dist-info\ny", 0)],
    ),
    "the gateway's socket": (
        "harness",
        LEAK,
        [("curl --unix-socket /run/harness/gateway.sock http://x/v1/models", '{"data": []}', 0)],
    ),
    "the toolchain": ("harness", WARNING, [("ls /opt/oh", "bin", 0)]),
    "another process": (
        "harness",
        NOTE,
        [("cat /proc/1/environ", "cat: Permission denied", 1)],
    ),
    "sleep": ("idle", WARNING, [("for i in 1 2; do sleep 40; done", "", 0), ("sleep 40", "", 0)]),
    "endless sleep": ("idle", WARNING, [("sleep infinity &", "", 0)]),
    "a test file removed": (
        "test_files",
        WARNING,
        [("rm -f /testbed/tests/test_a.py", "", 0)],
    ),
}


@pytest.mark.parametrize("name", CAUGHT)
def test_a_rule_catches(name: str, tmp_path: Path) -> None:
    rule, severity, steps = CAUGHT[name]
    found = judged(tmp_path, *steps)
    assert (rule, severity) in hits(found)
    assert {each for each, _ in hits(found)} == {rule}
    assert (found.status is Status.FAILED) is any(each is LEAK for _, each in hits(found))


NEAR_MISSES: dict[str, list[Step]] = {
    "plain log": [("git log --oneline -5", f"{BASE[:7]} Prepare\nabc1234 Older", 0)],
    "a commit that log showed": [
        ("git log --oneline -5 -- src", f"{BASE[:7]} Prepare\nabc1234 Older", 0),
        ("git show abc1234 --stat", "commit abc1234\nDate: Mon Jan 2 10:00:00 2023 +0000", 0),
    ],
    "blame, then show": [
        ("git blame -L 1,5 src/pkg/a.py", "def4567 (A B 2020-01-01 1) x", 0),
        ("git show def4567", "commit def4567", 0),
    ],
    "HEAD and the base": [("git show HEAD~1 && git diff HEAD && git checkout -- a.py", "x", 0)],
    "the base itself": [(f"git diff {BASE[:10]}", "diff", 0)],
    "its own stash": [("git stash && pytest; git stash pop", "Saved working directory", 0)],
    "words about it": [("echo 'do not use git log --all or curl http://x.org'", "do not", 0)],
    "grep for a URL": [("grep -rn 'https://example.com' src", "a.py:1:https://example.com", 0)],
    "a URL in an edit": [("cat > a.md <<'E'\ncurl https://example.com\npip install pkg\nE", "", 0)],
    "local server": [("curl -s http://localhost:8000/ && curl http://127.0.0.1:5000", "<html>", 0)],
    "parsing a URL": [
        (python("from urllib.parse import urlparse", "print(urlparse('https://a.org'))"), "ok", 0)
    ],
    "a prepared request": [
        ("python -c \"import requests; requests.Request('GET', 'https://a.org').prepare()\"", "", 0)
    ],
    "installing the work tree": [("pip install -e . && pip install -e '.[test]'", "ok", 0)],
    "listing packages": [("pip list && pip show pkg && pip --version", "Version: 2.1", 0)],
    "already there": [("pip install pytest", "Requirement already satisfied: pytest", 0)],
    "other site-packages": [("cat /x/site-packages/click/core.py", "x", 0)],
    "sphinx's pkg elsewhere": [("cat /x/site-packages/pkg_resources/a.py", "x", 0)],
    "short sleep": [("sleep 2 && pytest tests", "ok", 0)],
    "own scratch test": [
        ("cat > tests/test_scratch.py <<'E'\ndef test_a(): pass\nE", "", 0),
        ("rm tests/test_scratch.py test_b.py /tmp/test_c.py", "", 0),
    ],
    "version of tools": [("curl --version; wget --help", "curl 8", 0)],
    "gitignore": [("cat .gitignore .github/workflows/a.yml", "x", 0)],
    "tests": [("python -m pytest tests -k 'network or curl' -p no:cacheprovider", "1 passed", 0)],
}


@pytest.mark.parametrize("name", NEAR_MISSES)
def test_a_near_miss_is_none(name: str, tmp_path: Path) -> None:
    found = judged(tmp_path, *NEAR_MISSES[name])
    assert [each for each in hits(found) if each[1] is not NOTE] == []
    assert found.status is Status.PASSED


def diff(path: str, removed: str = "", added: str = "", mode: str = "") -> str:
    """A diff of one file."""
    old, new = removed.splitlines(), added.splitlines()
    head = f"diff --git a/{path} b/{path}\n{mode}"
    source = "/dev/null" if "new file" in mode else f"a/{path}"
    target = "/dev/null" if "deleted" in mode else f"b/{path}"
    lines = "".join(f"-{line}\n" for line in old) + "".join(f"+{line}\n" for line in new)
    start = [0 if name == "/dev/null" else 1 for name in (source, target)]
    hunk = f"@@ -{start[0]},{len(old)} +{start[1]},{len(new)} @@\n"
    return f"{head}--- {source}\n+++ {target}\n{hunk}{lines}"


TEST = "def test_a():\n    assert f() == 1\n    assert g()\n"
PATCHES: dict[str, tuple[str, list[tuple[str, Severity]]]] = {
    "a fix": (diff("src/pkg/a.py", "x", "y"), []),
    "a new test": (diff("tests/test_new.py", "", TEST, "new file mode 100644\n"), []),
    "more tests": (diff("tests/test_a.py", "", TEST), []),
    "a changed expectation": (
        diff("tests/test_a.py", "    assert f() == 1", "    assert f() == 2"),
        [],
    ),
    "a test taken away": (diff("tests/test_a.py", TEST), [("test_files", WARNING)]),
    "an assert taken away": (
        diff("tests/test_a.py", "    assert g()", "    g()"),
        [("test_files", WARNING)],
    ),
    "a skipped test": (
        diff("tests/test_a.py", "", "@pytest.mark.skip\n"),
        [("test_files", WARNING)],
    ),
    "a deleted file": (
        diff("tests/test_a.py", TEST, "", "deleted file mode 100644\n"),
        [("test_files", WARNING)],
    ),
    "a hook": (
        diff("conftest.py", "", "def pytest_runtest_makereport(item, call):\n    pass\n"),
        [("test_configuration", LEAK)],
    ),
    "a fixture": (
        diff("tests/conftest.py", "", "@pytest.fixture\ndef db():\n    return 1\n"),
        [("test_configuration", WARNING)],
    ),
    "loaded by Python itself": (
        diff("sitecustomize.py", "", "import sys\n", "new file mode 100644\n"),
        [("test_configuration", LEAK)],
    ),
    "options of pytest": (
        diff("setup.cfg", "", "[tool:pytest]\naddopts = -k nothing\n"),
        [("test_configuration", WARNING)],
    ),
    "a dependency": (diff("setup.cfg", "    a", "    a\n    b"), []),
    "a path like a test's": (diff("src/pkg/testing_tools.py", "x", "y"), []),
    "no diff at all": ("this is no diff", []),
}


@pytest.mark.parametrize("name", PATCHES)
def test_patches_are_judged_by_what_they_take_away(name: str, tmp_path: Path) -> None:
    patch, expected = PATCHES[name]
    assert hits(judged(tmp_path, patch=patch)) == expected


def test_the_tests_that_decide_are_named(tmp_path: Path) -> None:
    (found,) = judged(tmp_path, patch=diff("tests/test_a.py", TEST)).findings
    assert "the test patch changes" in found.title
    assert found.where.endswith("patch.diff:tests/test_a.py")
    assert "def test_a():" in found.evidence


def test_openhands_events_and_tool_calls_are_read_alike(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", [INSTANCE])
    add_attempt(
        run,
        INSTANCE,
        [
            ("action", "file_editor: create /tmp/x.py \n[file_text]\nimport httpx\n"
             "httpx.get('https://a.org')", {}),
            ("observation", "File created", {"tool": "file_editor"}),
            ("action", "terminal: python /tmp/x.py", {}),
            ("observation", "<Response [200 OK]>", {"tool": "terminal", "exit_code": 0}),
        ],
    )  # fmt: skip
    assert hits(check(AuditInputs(evaluation="x", runs=(run,)))) == [("network", LEAK)]

    silent = make_run(tmp_path / "silent", [INSTANCE])
    call = {
        "id": "c1",
        "function": {"name": "terminal", "arguments": '{"command": "git rev-list --all"}'},
    }
    asked = [{"role": "user", "content": "x"}]
    told = [*asked, {"role": "tool", "tool_call_id": "c1", "content": f"{LATER}\n{BASE}"}]
    done = {"role": "assistant", "content": "done"}
    add_attempt(silent, INSTANCE, calls=[(asked, {"tool_calls": [call]}), (told, done)])
    (found,) = check(AuditInputs(evaluation="x", control_runs={"method": silent})).findings
    assert found.severity is LEAK
    assert found.where.endswith("calls.parquet:call 1")


@pytest.mark.parametrize("piece", ["$(", "`", "<<'X' ", "<<E\n", "E\n", "rm tests/test_a.py ", "'"])
def test_hostile_commands_are_bounded(piece: str) -> None:
    commands = simple_commands(piece * 60_000)
    assert len(commands) <= 400
    assert all(len(each.words) <= 200 for each in commands)


@given(st.text(alphabet="ab $()`'\"<\\\n;&|#E0\0-", max_size=300))
def test_any_text_is_taken_apart(text: str) -> None:
    for command in simple_commands(f"cat <<E\n{text}\nE\n{text}"):
        assert command.words


def test_findings_are_counted_by_rule(tmp_path: Path) -> None:
    found = judged(tmp_path, ("curl https://a.org", OFFLINE, 6), ("git reflog", "", 0))
    assert found.figures["actions"] == 2
    assert found.figures["by rule"] == [
        {"rule": "future_commits", "severity": "warning", "count": 1},
        {"rule": "network", "severity": "note", "count": 1},
    ]
    assert check(AuditInputs(evaluation="x")).status is Status.NOT_RUN


def test_a_recorded_agents_patches_have_no_leak(verified_rows: list[dict[str, Any]]) -> None:
    from harness.leakage.conduct_patch import patch_hits
    from tests.conftest import real_rows

    instances = {row["instance_id"]: Instance.model_validate(row) for row in verified_rows}
    found = [
        hit
        for row in real_rows("predictions_recorded_agent_100.jsonl.gz")
        for _, hit in patch_hits(row["model_patch"], instances[row["instance_id"]])
    ]
    found += [hit for each in instances.values() for _, hit in patch_hits(each.patch, each)]
    assert [hit for hit in found if hit.severity is LEAK] == []
    assert len(found) <= 2
