"""Candidates of instance synthesis: the warm worker against one container for each candidate.

    harness datagen instances xmltodict==1.0.4 --out made
    python -m benchmarks.synthesis made martinblech__xmltodict-1.0.4 [--candidates 16] [--process]

Both try the same candidates of a package, and the verdicts must be the same: which tests fail, or
why it is no instance. The usual way: a fresh container, the change applied, all tests run once, the
log parsed. The warm worker: the tests that execute the changed code (`single`), and what
`harness datagen instances` really does, two more runs of whole files for those that show (`three`).
Each is measured from starting its first sandbox to its last verdict. CPU is of this process, of all
commands in sandboxes, and of the engine that starts containers (its daemons and shims: nobody else
may use it meanwhile). Commands in containers have this process's priority. `--process`: process
sandboxes in place of containers.
"""

import argparse
import json
import os
import re
import tempfile
import time
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path

import yaml

from harness.datagen.edit_bugs import source_files
from harness.datagen.edit_bugs_hide import git_diff
from harness.datagen.edit_bugs_trial import Job, Survey, Tried, package_tests
from harness.datagen.synthesis.candidates import Candidate, candidates
from harness.datagen.synthesis.settings import Settings
from harness.environments.docker_images import build_images, image_name
from harness.environments.process_images import build_process_image
from harness.environments.recipe import Recipe
from harness.environments.source import fetch_sdist, unpack_sdist
from harness.grading.official import parse
from harness.records import Instance
from harness.records.cache import cache_root
from harness.sandboxes import make_provider
from harness.sandboxes.base import Limits, SandboxProvider
from harness.suites.load import load_suite

Verdict = tuple[str, tuple[str, ...]]
_TIMES = re.compile(r"^(\d+)m([\d.]+)s (\d+)m([\d.]+)s$", re.M)
_SECONDS = 120.0
_SCRIPT = """\
renice -n {nice} $$ >/dev/null
source /opt/miniconda3/bin/activate && conda activate testbed && cd /testbed
git apply --whitespace=nowarn /tmp/clean.patch /tmp/candidate.patch || exit 66
timeout {seconds} pytest -rA --continue-on-collection-errors
echo "exit code $?"
times
"""


class Package:
    """A package of a finished `harness datagen instances`, and its first candidates."""

    def __init__(self, made: Path, slug: str, most: int) -> None:
        folder = made / "packages" / slug
        (entry,) = yaml.safe_load((folder / "recipe.yaml").read_text())
        self.recipe = Recipe.model_validate(entry)
        self.survey = Survey.model_validate_json((folder / "survey.json").read_bytes())
        self.settings = Settings.model_validate_json((made / "settings.json").read_bytes())
        rows = load_suite(str(made / "instances.jsonl")).instances
        self.row: Instance = next(row for row in rows if row.repo == self.recipe.repo)
        assert self.recipe.sdist
        with tempfile.TemporaryDirectory() as name:
            unpack_sdist(fetch_sdist(self.recipe.sdist, cache_root()), Path(name))
            self.files = source_files(Path(name))
        self.covered = self.survey.covered()
        found = candidates(
            self.files,
            self.covered.keys(),
            operators=self.settings.operators,
            seed=self.settings.seed,
        )
        self.candidates = list(islice(found, most))

    def verdict(self, failed: Sequence[str]) -> Verdict:
        """The verdict of these failing tests."""
        known = sorted(set(failed) & self.survey.tests.keys())
        functions = {str(self.survey.tests[test].defined or test) for test in known}
        if len(functions) > self.settings.most_failing:
            return "wide", ()
        return ("seen", tuple(test for test in known if " " not in test)) if known else ("", ())


def warm(package: Package, repeat: int) -> tuple[dict[str, Verdict], float]:
    """The verdicts of the warm worker, and its CPU seconds until the last one."""
    found: dict[str, Verdict] = {}
    cpu = 0.0
    jobs = [
        Job(
            number=number,
            changes=one.changes,
            tests=tuple(sorted({test for at in one.places for test in package.covered[at]})),
            repeat=repeat,
        )
        for number, one in enumerate(package.candidates, start=1)
    ]

    def take(tried: Tried) -> bool:
        nonlocal cpu
        cpu = _workers_cpu() or cpu + tried.seconds  # it ends with its last line
        key = package.candidates[tried.number - 1].key
        stopped = tried.outcome in ("hang", "crash", "import")
        wide = ("wide", ())
        found[key] = ("stopped", ()) if stopped else package.verdict(tried.failed)
        found[key] = wide if tried.wide else found[key]
        return False

    provider = make_provider("process")
    with package_tests(package.recipe, provider, cache_root(), lambda text: None) as tests:
        most = package.settings.most_failing
        tests.run(package.survey, jobs, most=most, on_result=take)
    return found, cpu


def _processes() -> dict[int, tuple[str, int, int]]:
    """Name or command, parent, and CPU ticks (with those of ended children) of all processes."""
    found = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            name, _, rest = path.read_text().partition("(")[2].rpartition(")")
            command = path.with_name("cmdline").read_bytes().decode(errors="replace")
        except OSError:
            continue  # it has ended
        fields = rest.split()
        ticks = sum(int(field) for field in fields[11:15])
        found[int(path.parent.name)] = (f"{name}\0{command}", int(fields[1]), ticks)
    return found


def _workers_cpu() -> float:
    """CPU seconds of this process's worker, and of the forks that it has waited for."""
    processes = _processes()
    most = 0
    for number, (command, _, ticks) in processes.items():
        above = number
        while above in processes and above != os.getpid():
            above = processes[above][1]
        if above == os.getpid() and "edit_bugs_worker\0try" in command:
            most = max(most, ticks)
    return most / os.sysconf("SC_CLK_TCK")


class _Engine:
    """CPU seconds of the engine's daemons since the beginning, and of the shims that were seen."""

    def __init__(self) -> None:
        socket = os.environ.get("DOCKER_HOST", "").removeprefix("unix://")
        self._folder = str(Path(socket).parent)  # in the commands of this engine's processes
        self._shims: dict[int, int] = {}
        self._before = self._look()

    def _look(self) -> int:
        daemons = 0
        for number, (command, _, ticks) in _processes().items():
            if self._folder not in command:
                continue
            if command.startswith(("dockerd\0", "containerd\0")):
                daemons += ticks
            elif command.startswith("containerd-shim"):
                self._shims[number] = ticks
        return daemons

    def seconds(self) -> float:
        """To be asked before each container ends, as its shim ends with it."""
        ticks = self._look() - self._before + sum(self._shims.values())
        return ticks / os.sysconf("SC_CLK_TCK")


def one_each(
    package: Package, provider: SandboxProvider, image: str
) -> tuple[dict[str, Verdict], float]:
    """The verdicts of a sandbox for each candidate, and the CPU seconds of its commands."""
    clean = package.row.patch + package.row.test_patch
    script = _SCRIPT.format(seconds=int(_SECONDS), nice=os.nice(0))
    found: dict[str, Verdict] = {}
    cpu, engine = 0.0, _Engine()
    for one in package.candidates:
        with provider.start(image, limits=Limits(), owner="benchmark") as sandbox:
            sandbox.write("/tmp/clean.patch", clean.encode())
            sandbox.write("/tmp/candidate.patch", _patch(one, package).encode())
            result = sandbox.exec(script, timeout=_SECONDS + 60)
            engine.seconds()
        found[one.key] = _verdict(result.text, package)
        for match in _TIMES.findall(result.text):
            minutes, seconds = (int(match[0]), int(match[2])), (float(match[1]), float(match[3]))
            cpu += 60 * sum(minutes) + sum(seconds)
    return found, cpu + (engine.seconds() if provider.kind == "docker" else 0.0)


def _patch(one: Candidate, package: Package) -> str:
    changed = one.changed(package.files)
    return "".join(git_diff(path, package.files[path], text) for path, text in changed.items())


def _verdict(log: str, package: Package) -> Verdict:
    if not re.search(r"^exit code [01]$", log, re.M):
        return "stopped", ()
    statuses = parse(package.row, log)
    if any(test not in statuses for test in package.survey.tests if " " not in test):
        return "stopped", ()  # a file of tests could not be imported
    return package.verdict([name for name, one in statuses.items() if one in ("FAILED", "ERROR")])


def measured(
    name: str, work: Callable[[], tuple[dict[str, Verdict], float]]
) -> tuple[dict[str, Verdict], dict[str, float]]:
    """The verdicts of some work, and its wall and CPU seconds."""
    began, before = time.monotonic(), time.process_time()
    found, cpu = work()
    cpu += time.process_time() - before
    print(f"{name}: {time.monotonic() - began:.1f} s, {cpu:.1f} CPU s", flush=True)
    return found, {"wall": time.monotonic() - began, "cpu": cpu}


def main() -> None:
    """Try the candidates in each way, compare the verdicts, and print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("made", type=Path)
    parser.add_argument("package")
    parser.add_argument("--candidates", type=int, default=16)
    parser.add_argument("--process", action="store_true")
    given = parser.parse_args()
    package = Package(given.made, given.package, given.candidates)
    provider = make_provider("process" if given.process else "docker")
    if given.process:
        image = str(build_process_image(package.row, package.recipe, cache_root(), print))
    else:
        recipes = {(package.recipe.repo, package.recipe.version): package.recipe}
        (built,) = build_images(
            [package.row], recipes=recipes, repos=None, cache=cache_root(), on_progress=print
        )
        assert not built.error, built.error
        image = image_name(package.row)
    runs = package.settings.runs
    ways = {
        "single": measured("single", lambda: warm(package, 0)),
        "three": measured("three", lambda: warm(package, runs - 1)),
        "usual": measured("usual", lambda: one_each(package, provider, image)),
    }
    verdicts = {name: found for name, (found, _) in ways.items()}
    different = {
        key: [found.get(key) for found in verdicts.values()]
        for key in verdicts["usual"]
        if len({found.get(key) for found in verdicts.values()}) > 1
    }
    count = len(package.candidates)
    usual = ways["usual"][1]
    print(
        json.dumps(
            {
                "sandbox of the usual way": provider.kind,
                "package": given.package,
                "candidates": count,
                "seen by tests": sum(one[0] == "seen" for one in verdicts["usual"].values()),
                "different verdicts": different,
                "seconds a candidate": {
                    name: {key: round(spent[key] / count, 2) for key in spent}
                    for name, (_, spent) in ways.items()
                },
                "times faster": {
                    name: {key: round(usual[key] / spent[key], 1) for key in spent}
                    for name, (_, spent) in ways.items()
                },
            },
            indent=1,
        )
    )


if __name__ == "__main__":
    main()
