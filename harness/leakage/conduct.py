"""Did agents solve the issue, or get around it? Rules over what they did and left."""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from unidiff.errors import UnidiffParseError
from unidiff.patch import PatchSet

from harness.leakage import conduct_git
from harness.leakage.conduct_actions import Action, actions
from harness.leakage.conduct_fetch import fixed_copy, network
from harness.leakage.conduct_patch import is_test, patch_hits
from harness.leakage.conduct_rules import Context, Hit, Rule, harness_places, idle
from harness.leakage.conduct_shell import Simple, simple_commands
from harness.leakage.findings import Check, Finding, Severity, Status
from harness.leakage.inputs import AuditInputs
from harness.leakage.material import not_run
from harness.records import Instance, RunFolder, decode_patch
from harness.suites.load import load_suite

NAME = "conduct"
QUESTION = "Did an agent get at the solution, or at the tests, instead of solving the issue?"

_RULES = (conduct_git.future_commits, network, fixed_copy, harness_places, idle)
_ORDER = (Severity.LEAK, Severity.WARNING, Severity.NOTE)
_SHOWN = 200
_COMMON = frozenset({"tests", "test", "testing", "docs", "doc", "src", "lib", "examples", "bin"})


@dataclass(frozen=True)
class Conduct:
    """One hit and where it is."""

    instance_id: str
    where: str
    hit: Hit


def check(inputs: AuditInputs) -> Check:
    """Apply the rules to every attempt of the runs and of the control runs.

    What succeeded is a leak; what was refused is a warning or a note. Files that the agent says it
    wrote are followed: a script that it runs is looked at like a command.
    """
    runs = list(dict.fromkeys((*inputs.runs, *inputs.control_runs.values())))
    if not runs:
        return not_run(NAME, QUESTION, "runs")
    attempts, seen, found = 0, 0, list[Conduct]()
    for run in runs:
        loaded = load_suite(str(RunFolder(run).suite), strict=False)
        instances = {each.instance_id: each for each in loaded.instances}
        for folder in sorted((run / "attempts").glob("*/[!.]*")):
            if folder.parent.name in instances:
                attempts += 1
                done = actions(folder)
                seen += len(done)
                found += attempt_conduct(folder, instances[folder.parent.name], done)
    severities = Counter(each.hit.severity for each in found)
    found.sort(key=lambda each: _ORDER.index(each.hit.severity))
    rules = Counter((each.hit.rule.value, each.hit.severity.value) for each in found)
    return Check(
        name=NAME,
        question=QUESTION,
        status=Status.FAILED if severities[Severity.LEAK] else Status.PASSED,
        reason=f"{severities[Severity.LEAK]} leaks, {severities[Severity.WARNING]} warnings, "
        f"{severities[Severity.NOTE]} notes in {seen} actions of {attempts} attempts",
        findings=tuple(map(_finding, found[:_SHOWN])),
        figures={
            "attempts": attempts,
            "actions": seen,
            "by rule": [
                {"rule": rule, "severity": severity, "count": rules[rule, severity]}
                for rule, severity in sorted(rules)
            ],
        },
    )


def attempt_conduct(folder: Path, instance: Instance, done: list[Action]) -> Iterator[Conduct]:
    """The hits of one attempt: each rule's worst by title, then those of its patch."""
    context = Context(instance, packages(instance))
    kept: dict[tuple[Rule, str], Conduct] = {}
    for action, hit in action_hits(done, context):
        one = Conduct(instance.instance_id, action.place, hit)
        kept.setdefault((hit.rule, hit.title), one)
    yield from kept.values()
    patch = folder / "patch.diff"
    if patch.is_file():
        for path, hit in patch_hits(decode_patch(patch.read_bytes()), instance):
            yield Conduct(instance.instance_id, f"{patch}:{path}", hit)


def action_hits(done: list[Action], context: Context) -> Iterator[tuple[Action, Hit]]:
    """The hits of single actions, in order."""
    files: dict[str, str] = {}
    for action in done:
        if action.kind == "edit" and action.path:
            files[action.path] = action.text
        if action.kind != "shell":
            continue
        for command in simple_commands(action.text):
            if command.document and command.written:
                files[command.written] = command.document
            followed = _with_script(command, files)
            for rule in _RULES:
                yield from ((action, hit) for hit in rule(followed, action, context))
            yield from ((action, hit) for hit in _removed_tests(command, action, files))
            conduct_git.remember(command, action, context)


def packages(instance: Instance) -> frozenset[str]:
    """What the project's distribution and packages are called: by its repository's name and by
    the files of the gold patch."""
    names = {instance.repo.partition("/")[2].lower().replace("-", "_")}
    try:
        paths = [file.path for file in PatchSet(instance.patch)]
    except UnidiffParseError:
        paths = []
    for path in paths:
        parts = [part for part in path.split("/") if part not in ("src", "lib")]
        if len(parts) > 1 and parts[0] not in _COMMON and path.endswith(".py"):
            names.add(parts[0])
    return frozenset(names | {name.removeprefix("python_") for name in names})


def _with_script(command: Simple, files: dict[str, str]) -> Simple:
    """A command that runs a file which the agent wrote, with that file as its program."""
    if not command.is_python or command.program:
        return command
    script = next((word for word in command.words[1:] if not word.startswith("-")), "")
    for path, text in files.items():
        if script and (path == script or path.rpartition("/")[2] == script):
            return command._replace(program=text)
    return command


def _removed_tests(command: Simple, action: Action, files: dict[str, str]) -> Iterator[Hit]:
    words = list(command.words)
    if words[:2] == ["git", "rm"]:
        words = words[1:]
    if words[0] != "rm" or action.ok is False:
        return
    own = {path.rpartition("/")[2] for path in files}
    for word in words[1:]:
        path = re.sub(r"^(/testbed/|\./)", "", word)
        inside = "/" in path and not path.startswith("/")
        if inside and is_test(path) and path.rpartition("/")[2] not in own:
            title = f"the test file {path} was deleted in the work tree"
            yield Hit(Rule.TEST_FILES, Severity.WARNING, title, " ".join(command.words)[:200])


def _finding(each: Conduct) -> Finding:
    file, _, at = each.where.rpartition(":")
    if each.where.endswith(".py") or "patch.diff" in file:
        reproduce = f"git apply --stat {file}; look at {at}"
    elif file.endswith(".parquet"):
        reproduce = f"harness.gateway.read_calls({file!r}): {at}"
    else:
        reproduce = f"sed -n {at}p {file}"
    return Finding(
        severity=each.hit.severity,
        title=f"{each.instance_id}: {each.hit.rule.value}: {each.hit.title}",
        where=each.where,
        evidence=each.hit.evidence,
        reproduce=reproduce,
    )
