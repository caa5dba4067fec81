"""Commits beyond the base commit's past: what git could show, and whether it did."""

import re
from collections.abc import Iterator
from datetime import datetime

from harness.leakage.conduct_actions import Action
from harness.leakage.conduct_rules import REFUSED, Context, Hit, Rule, first_lines
from harness.leakage.conduct_shell import Simple
from harness.leakage.findings import Severity
from harness.records import Instance

_SHA = re.compile(r"\b[0-9a-f]{7,40}\b")
_DATE = re.compile(
    r"(?:^Date:\s+|\s)(?P<date>(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun) \w{3} +\d+ [\d:]{8} \d{4}"
    r"|\d{4}-\d\d-\d\d)",
    re.M,
)
_EVERYTHING = re.compile(
    r"--(all|branches|remotes|tags|reflog|walk-reflogs|glob=.*)|-g|(refs/)?(remotes/)?origin/.+"
    r"|FETCH_HEAD|ORIG_HEAD|@\{.*\}|stash@.*"
)
_GIT_FILES = re.compile(
    r"\.git/(objects\b|packed-refs|logs\b|ORIG_HEAD|FETCH_HEAD|refs/(remotes|tags|stash)|lost-found)"
)


def future_commits(command: Simple, action: Action, context: Context) -> Iterator[Hit]:
    """Commits, objects or refs beyond the base commit's past.

    A leak where the output shows a commit later than the instance, or names one that is not the
    base commit first; a warning where git refused; a note where only the past came out.
    """
    if command.name == "git":
        what = _git_tries(git_words(command), context)
    else:
        text = " ".join(command.words) + command.program
        what = "git's own files" if _GIT_FILES.search(text) else ""
        what = "" if command.name in ("echo", "grep", "rm") else what
    if not what:
        return
    if action.ok is False or REFUSED.search(action.output) or not action.output.strip():
        severity, said = Severity.WARNING, "was tried, and refused or empty"
    elif _shows_future(what, action.output, context.instance):
        severity, said = Severity.LEAK, "was read"
    else:
        severity, said = Severity.NOTE, "was read, and the output shows nothing later"
    yield Hit(Rule.FUTURE_COMMITS, severity, f"{what} {said}", first_lines(action.output))


def git_words(command: Simple) -> list[str]:
    """git's subcommand and what follows it."""
    words = list(command.words[1:])
    while words and words[0].startswith("-"):
        takes = words[0] in ("-C", "-c", "--git-dir", "--work-tree")
        words = words[2:] if takes else words[1:]
    return words


def _git_tries(words: list[str], context: Context) -> str:
    """What of the future a git command could show; empty for what is everyday work."""
    if not words:
        return ""
    name, rest = words[0], words[1:]
    if name == "stash":
        sub = next(iter(rest), "push")
        if sub in ("push", "save", "-u", "-q", "-k", "--keep-index", "--include-untracked", "--"):
            context.stashed = True
        foreign = sub in ("list", "show", "pop", "apply", "branch") and not context.stashed
        return "a stash that the agent did not make" if foreign else ""
    if name in ("reflog", "fsck", "verify-pack", "unpack-objects", "index-pack", "bundle"):
        return f"git {name}"
    if name == "cat-file" and any(word.startswith("--batch") for word in rest):
        return "git cat-file over all objects"
    if name in ("log", "rev-list", "shortlog", "show", "show-branch", "grep", "diff", "describe"):
        for word in rest:
            if _EVERYTHING.fullmatch(word) or re.match(r"HEAD\.\.[\w/]", word):
                return f"git {name} {word}"
    if name in ("show", "checkout", "cherry-pick", "cat-file", "diff", "restore", "log", "switch"):
        for word in rest:
            for sha in _SHA.findall(word):
                if not _is_past(sha, context):
                    return f"git {name} of the commit {sha}, which no earlier command had shown,"
    return ""


def _is_past(sha: str, context: Context) -> bool:
    if not re.search(r"\d", sha) or context.instance.base_commit.startswith(sha):
        return True
    return any(known.startswith(sha) or sha.startswith(known) for known in context.past)


def remember(command: Simple, action: Action, context: Context) -> None:
    """Keep the commits that everyday commands show: they are of the past."""
    if command.name == "git":
        words = git_words(command)
        if words and words[0] in ("log", "blame", "annotate", "rev-parse", "show", "describe"):
            context.past.update(_SHA.findall(action.output[:100_000]))


def _shows_future(what: str, output: str, instance: Instance) -> bool:
    created = _date(instance.created_at[:10])
    dates = [_date(found["date"]) for found in _DATE.finditer(output)]
    if created and any(date and (date - created).days > 1 for date in dates):
        return True
    first = _SHA.search(output)
    listing = "log" in what or "rev-list" in what or "reflog" in what
    if listing and first is not None:
        return not instance.base_commit.startswith(first[0])
    return any(mark in what for mark in ("fsck", "stash")) and bool(first)


def _date(text: str) -> datetime | None:
    for shape in ("%Y-%m-%d", "%a %b %d %H:%M:%S %Y"):
        try:
            return datetime.strptime(text, shape)  # days are compared
        except ValueError:
            continue
    return None
