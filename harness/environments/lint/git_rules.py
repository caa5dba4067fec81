"""What a git folder shows beside the base commit and its past."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

from harness.environments.lint.findings import Finding, Rule
from harness.environments.lint.store import OBJECT_ID, ObjectStore, UnreadableError

MAIN = "/testbed/.git"
# Repositories start with these; everything else with this shape of name points to a commit.
_PLAIN = re.compile(
    r"HEAD|config|description|index|packed-refs|info/(exclude|attributes|refs)|hooks/[^/]+\.sample"
    r"|(refs|logs)/.*|objects/[0-9a-f]{2}/[0-9a-f]{38}|objects/info/(packs|commit-graph)"
    r"|objects/pack/pack-[0-9a-f]{40}\.(pack|idx|rev|bitmap|keep|mtimes)"
)
_SETTING = re.compile(
    r"(remote|url|include|includeif|submodule|credential|http|filter|alias)\..*"
    r"|core\.(hookspath|fsmonitor|sshcommand|worktree|gitproxy)|.*\.(url|insteadof|promisor)"
)
_UPSTREAM_SUBJECT = " SWE-bench"
_SHOWN = 10


@dataclass(frozen=True)
class History:
    """What may be seen: objects that the base commit reaches, and the commit at HEAD."""

    store: ObjectStore
    reached: frozenset[str]
    head: str
    ref: str


def check_history(
    store: ObjectStore, files: Mapping[str, bytes], base: str
) -> tuple[History | None, list[Finding]]:
    """Compare HEAD and the stored objects with the base commit; None when there is no base.

    `files` holds the text files of the git folder by their path below it. The commit that upstream
    images make on the base itself is accepted with a warning: other rules look at its files.
    """
    ref, head = _resolve(files, "HEAD")
    accepted = [base]
    findings = []
    try:
        if head and head != base:
            parents, line = store.commit_facts(head)
            if parents == (base,) and line.endswith(_UPSTREAM_SUBJECT):
                accepted.append(head)
            findings.append(
                _finding(
                    Rule.GIT_HEAD,
                    "HEAD",
                    f"HEAD is not the base commit {base}"
                    + " but one made on it" * (len(accepted) > 1),
                    severity="warning" if len(accepted) > 1 else "error",
                    object_id=head,
                    line=line,
                    reproduce="git log -2 --stat",
                )
            )
        elif not head:
            findings.append(_finding(Rule.GIT_HEAD, "HEAD", "HEAD names no commit"))
        reached = store.reached(accepted)
        later = {i: kind for i, kind in store.all().items() if i not in reached}
        findings += unreached(store, later, MAIN)
    except UnreadableError as error:
        findings.append(
            _finding(
                Rule.GIT_UNREADABLE, "objects", f"the history of {base} cannot be read: {error}"
            )
        )
        return None, findings
    return History(store, reached, head or base, ref), findings


def unreached(
    store: ObjectStore, later: Mapping[str, str], where: str, rule: Rule = Rule.GIT_OBJECT
) -> Iterator[Finding]:
    """Findings for objects outside the history, commits first, the first few by name."""
    order = sorted(later, key=lambda each: (later[each] != "commit", later[each], each))
    for each in order[:_SHOWN]:
        kind = later[each]
        line = store.commit_facts(each)[1] if kind == "commit" else ""
        yield Finding(
            rule=rule,
            severity="error",
            path=store.place(each) or where,
            detail=f"a {kind} that the base commit does not reach"
            + (f"; {len(later)} objects in all" if each == order[0] and len(later) > 1 else ""),
            object=each,
            line=line,
            reproduce=f"git --git-dir={where} cat-file -p {each}",
        )


def check_refs(files: Mapping[str, bytes], history: History | None) -> Iterator[Finding]:
    """Refs, reflogs and left-over heads: errors when they name what the base does not reach."""
    reached = history.reached if history else frozenset()
    for name, target in sorted(_refs(files).items()):
        if history and name == history.ref:
            continue
        yield _finding(
            Rule.GIT_REF,
            name if f"{name}" in files else "packed-refs",
            f"{name}, beside the one branch of HEAD",
            severity="warning" if target in reached else "error",
            object_id=target,
            reproduce=f"git show {name}",
        )
    for path, content in sorted(files.items()):
        if path.startswith("logs/"):
            named = set(re.findall(r"\b[0-9a-f]{40}\b", content.decode(errors="replace")))
            outside = sorted(named - reached - {"0" * 40})
            yield _finding(
                Rule.GIT_REFLOG,
                path,
                f"a reflog that names {len(outside)} commits outside the history",
                severity="error" if outside else "warning",
                object_id=outside[0] if outside else "",
                line=content.decode(errors="replace").strip().rpartition("\n")[2][:160],
                reproduce=f"git reflog show {path.removeprefix('logs/')}",
            )


def check_settings(settings: Mapping[str, str]) -> Iterator[Finding]:
    """Remotes, addresses, and settings that run or include something."""
    for key, value in sorted(settings.items()):
        if _SETTING.fullmatch(key.lower()) or "://" in value:
            yield _finding(
                Rule.GIT_REMOTE,
                "config",
                "a setting that leads out of the repository",
                line=f"{key}={value}"[:160],
                reproduce=f"git config --get-all {key}",
            )


def check_state(
    names: Mapping[str, str], files: Mapping[str, bytes], message: bytes
) -> Iterator[Finding]:
    """Files that a fresh repository at one branch has not. `names`: kind by path below `.git`.

    `message`: of the commit at HEAD, which git keeps in a file of its own.
    """
    for name, kind in sorted(names.items()):
        if kind == "folder" and name not in ("worktrees", "modules"):
            continue
        if name == "COMMIT_EDITMSG" and files.get(name, b"").strip() == message.strip():
            continue
        if kind in ("link", "other") or not _PLAIN.fullmatch(name):
            what = f"a {kind}" if kind in ("link", "other") else "a file"
            yield _finding(
                Rule.GIT_STATE,
                name,
                f"{what} that a repository of one branch does not have",
                reproduce=f"cat {MAIN}/{name}",
            )


def read_settings(store: ObjectStore, config: bytes) -> dict[str, str]:
    """The settings of a config file, includes not followed. Raises UnreadableError."""
    listed = store.git("config", "--file=-", "--no-includes", "--list", "-z", stdin=config)
    pairs = (item.partition("\n") for item in listed.decode(errors="replace").split("\0") if item)
    return {key: value for key, _, value in pairs}


def _refs(files: Mapping[str, bytes]) -> dict[str, str]:
    """Target by name, loose before packed; a peeled tag's own object does."""
    refs = {}
    for line in files.get("packed-refs", b"").decode(errors="replace").splitlines():
        target, _, name = line.partition(" ")
        if OBJECT_ID.fullmatch(target) and name:
            refs[name] = target
    for path in files:
        if path.startswith("refs/"):
            refs[path] = _resolve(files, path)[1] or "?"
    return refs


def _resolve(files: Mapping[str, bytes], name: str) -> tuple[str, str]:
    """The last name and the object id behind a ref; no id when it leads nowhere."""
    packed = {
        ref: target
        for target, _, ref in (
            line.partition(" ")
            for line in files.get("packed-refs", b"").decode(errors="replace").splitlines()
        )
    }
    for _ in range(5):
        text = (
            files[name].decode(errors="replace").strip() if name in files else packed.get(name, "")
        )
        if not text.startswith("ref: "):
            return name, text if OBJECT_ID.fullmatch(text) else ""
        name = str(PurePosixPath(text.removeprefix("ref: ")))
    return name, ""


def _finding(
    rule: Rule,
    path: str,
    detail: str,
    *,
    severity: str = "error",
    object_id: str = "",
    line: str = "",
    reproduce: str = "",
) -> Finding:
    return Finding.model_validate(
        {
            "rule": rule,
            "severity": severity,
            "path": f"{MAIN}/{path}",
            "detail": detail,
            "object": object_id,
            "line": line,
            "reproduce": f"git -C /testbed {reproduce.removeprefix('git ')}"
            if reproduce.startswith("git ")
            else reproduce,
        }
    )
