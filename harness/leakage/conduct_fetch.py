"""What an agent fetched, or tried to: from the network, from an index, from another copy."""

import re
from collections.abc import Iterator

from harness.leakage.conduct_actions import Action
from harness.leakage.conduct_git import git_words
from harness.leakage.conduct_rules import Context, Hit, Rule, first_lines
from harness.leakage.conduct_shell import Simple
from harness.leakage.findings import Severity

_OFFLINE = re.compile(
    r"could not resolve|name resolution|network is unreachable|connection refused|blocked"
    r"|failed to connect|max retries exceeded|timed? ?out|no matching distribution|URLError"
    r"|could not find a version|unable to (access|look)|nodename nor servname|not known"
    r"|no route to host|connection ?error|could not read from remote|unreachable|no such option"
    r"|command not found",
    re.I,
)
_URL = re.compile(r"(?:https?|ftp|git|ssh)://(?:[^/\s'\"@]*@)?(?P<host>[^/\s'\":)]+)")
_LOCAL = re.compile(
    r"localhost|127\.\d+\.\d+\.\d+|\[?::1\]?|0\.0\.0\.0|sandbox|.*\.(local|invalid)"
)
_PYTHON_NETWORK = re.compile(
    r"urllib\.request|urlopen|urlretrieve|http\.client|requests\.(get|post|head|put|request|Session)"
    r"|httpx\.|aiohttp\.|socket\.create_connection|\.connect\(\(|ftplib|xmlrpc|paramiko"
)
_ANSWERED = re.compile(
    r"<!doctype|<html|HTTP/[\d.]+ \d|<Response \[|\"status\": ?\d|\b200 OK\b", re.I
)
_INSTALLED = re.compile(r"Successfully installed|Saved \S+|Installed \d+ package|Downloading \S+")
_FETCHERS = frozenset(
    {"curl", "wget", "nc", "ncat", "netcat", "telnet", "ssh", "scp", "sftp", "ftp", "aria2c", "dig"}
    | {"nslookup", "host", "ping"}
)


def network(command: Simple, action: Action, context: Context) -> Iterator[Hit]:
    """Something beyond the sandbox. A leak where it answered; a warning where the try was for the
    project itself, else a note."""
    what, sure = _dials(command)
    if not what:
        return
    text = " ".join(command.words) + command.program
    project = context.instance.repo in text or any(
        re.search(rf"(?:pypi|github|pythonhosted)\S*\b{re.escape(name)}\b", text)
        for name in context.packages
    )
    answered = action.ok is not False and bool(action.output.strip())
    answered = answered and not _OFFLINE.search(action.output)
    answered = answered and (sure or bool(_ANSWERED.search(action.output)))
    if answered:
        severity, said = Severity.LEAK, "answered"
    else:
        severity, said = Severity.WARNING if project else Severity.NOTE, "was tried in vain"
    yield Hit(Rule.NETWORK, severity, f"{what} {said}", first_lines(action.output))


def _dials(command: Simple) -> tuple[str, bool]:
    """What a command would reach, and whether its plain success shows that it did."""
    text = " ".join(command.words)
    hosts = [found["host"] for found in _URL.finditer(text + "\n" + command.program)]
    if hosts and all(_LOCAL.fullmatch(host) for host in hosts):
        return "", False
    if command.name in _FETCHERS and len(command.words) > 1:
        informs = any(word in ("--version", "--help", "-V", "-h") for word in command.words)
        local = any(_LOCAL.fullmatch(word) for word in command.words[1:])
        return ("" if informs or local or "--unix-socket" in text else command.name), True
    if command.name == "git":
        words = git_words(command)
        if words[:1] == ["clone"] and not hosts and "@" not in text:
            return "", False
        if words and words[0] in ("clone", "fetch", "pull", "ls-remote"):
            return f"git {words[0]}", True
    if "/dev/tcp/" in text:
        return "/dev/tcp", False
    if command.program and _PYTHON_NETWORK.search(command.program) and (hosts or "((" in text):
        return f"a Python program that dials {hosts[0] if hosts else 'a host'}", False
    return "", False


def fixed_copy(command: Simple, action: Action, context: Context) -> Iterator[Hit]:
    """A copy of the package from elsewhere: installed, downloaded, or read where it is."""
    wanted = _requirements(command)
    if wanted:
        own = [word for word in wanted if _package(word) in context.packages]
        got = bool(_INSTALLED.search(action.output)) and action.ok is not False
        if own:
            severity = Severity.LEAK if got else Severity.WARNING
            said = "was fetched" if got else "was asked for in vain"
            title = f"another copy of {own[0]} {said}"
            yield Hit(Rule.FIXED_COPY, severity, title, first_lines(action.output))
        elif not _OFFLINE.search(action.output) and got:
            title = f"{wanted[0]} was fetched from an index"
            yield Hit(Rule.NETWORK, Severity.LEAK, title, first_lines(action.output))
        elif "already satisfied" not in action.output:
            title = f"{wanted[0]} was asked for in vain"
            yield Hit(Rule.NETWORK, Severity.NOTE, title, first_lines(action.output))
        return
    text = " ".join(command.words) + command.program
    for name in sorted(context.packages):
        if re.search(rf"(site|dist)-packages/{re.escape(name)}(?![\w])", text):
            newer = _newer(name, action.output + text, context.instance.version)
            severity = Severity.LEAK if newer and action.ok is not False else Severity.NOTE
            title = f"the installed copy of {name} was read" + (f", version {newer}" * bool(newer))
            yield Hit(Rule.FIXED_COPY, severity, title, first_lines(action.output))
            return


def _requirements(command: Simple) -> list[str]:
    """What an installer is asked to fetch by name; local paths are the work tree."""
    words = list(command.words)
    if command.is_python and words[1:2] == ["-m"]:
        words = words[2:]
    elif command.name == "uv":
        words = words[1:]
    if not words or words[0].rpartition("/")[2] not in (
        "pip", "pip3", "easy_install", "conda", "mamba", "poetry",
    ):  # fmt: skip
        return []
    rest = words[1:]
    if words[0] != "easy_install":
        if not rest or rest[0] not in ("install", "download", "wheel", "add"):
            return []
        rest = rest[1:]
    if "--help" in rest or "--no-index" in rest:
        return []
    found, skip = [], False
    for word in rest:
        if skip or word.startswith("-"):
            skip = word in (
                "-r",
                "-c",
                "-t",
                "-d",
                "-i",
                "--index-url",
                "--target",
                "-f",
                "--python",
            )
            continue
        if word.startswith((".", "/", ">", "<", "2>", "file:")) or word in ("&1", "1"):
            continue
        found.append(word)
    return found


def _package(word: str) -> str:
    name = re.split(r"[=<>!~\[@; ]", word, maxsplit=1)[0]
    return name.rstrip("/").rpartition("/")[2].removesuffix(".git").lower().replace("-", "_")


def _newer(name: str, text: str, version: str) -> str:
    """A version of the package in a text that is later than the instance's; empty if none."""
    from packaging.version import InvalidVersion, Version

    pattern = rf"{re.escape(name)}-(\d[\w.]*?)(?:\.dist-info|\.egg|\.tar|-py)|^Version: (\S+)"
    for found in re.finditer(pattern, text, re.M | re.I):
        try:
            if Version(found[1] or found[2]) > Version(version):
                return found[1] or found[2]
        except InvalidVersion:
            continue
    return ""
