"""Does a student's sandbox hold an oracle field? Sandboxes are started and searched."""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import yaml

from harness.agents import make_agent
from harness.agents.base import Endpoint
from harness.config import RunConfig
from harness.gateway import Gateway
from harness.leakage.containers_search import Searched, search_sandbox
from harness.leakage.findings import Check, Finding, Severity, Status
from harness.leakage.inputs import AuditInputs
from harness.leakage.ledger import Ledger
from harness.leakage.material import not_run
from harness.leakage.taint import Scanner
from harness.records import Instance, RunFolder
from harness.rollouts.work import attempt_binds
from harness.sandboxes.base import Sandbox, SandboxFailure, SandboxProvider
from harness.suites.load import load_suite

NAME = "containers"
QUESTION = "Does an agent's sandbox show an oracle field in files, variables or processes?"

# In a process sandbox the distribution is this machine's own, which no run puts anything into.
SYSTEM = {"docker": ("/usr/local",), "process": ()}
_OWNER = "leakage-audit"
_SHOWN = 100
_NOWHERE = Endpoint(base_url="http://127.0.0.1:9/v1", model="none")


def check(inputs: AuditInputs) -> Check:
    """Start sandboxes of each run as its attempts got them, and search them for canaries.

    `inputs.containers` instances of each run, spread over its suite, those with canaries; an
    agent's binds and its gateway's socket are there, the agent is not. Inconclusive when a sandbox
    could not be started, or a part of one not be searched.
    """
    if not inputs.containers or inputs.ledger is None or not inputs.runs:
        return not_run(NAME, QUESTION, "containers (how many to search), ledger and runs")
    from harness.environments.images import find_images
    from harness.sandboxes import make_provider

    ledger = Ledger.load(inputs.ledger)
    scanner = Scanner(ledger.prefix, ledger.by_canary)
    found: dict[str, Searched] = {}
    problems: list[str] = []
    for run in inputs.runs:
        config = load_config(run)
        instances = _sample(run, ledger, inputs.containers)
        if not instances:
            problems.append(f"{run}: no instance has canaries")
            continue
        try:
            provider = make_provider(config.sandbox)
        except SandboxFailure as failure:
            problems.append(f"{run}: {failure}")
            continue
        images = find_images(instances, provider, lambda line: None)
        for instance in instances:
            name = f"{config.sandbox} sandbox of {instance.instance_id} as in {run}"
            try:
                image = images.references[instance.instance_id]
                with attempt_sandbox(config, image, provider) as sandbox:
                    found[name] = search_sandbox(
                        sandbox, scanner, instance.instance_id, system=SYSTEM[config.sandbox]
                    )
            except KeyError:
                problems.append(f"{name}: {images.problems[instance.instance_id]}")
            except SandboxFailure as failure:
                problems.append(f"{name}: {failure}")
    return _checked(found, problems)


def load_config(run: Path) -> RunConfig:
    """What a run was asked to do."""
    text = RunFolder(run).config.read_text(encoding="utf-8")
    return RunConfig.model_validate(yaml.safe_load(text))


@contextmanager
def attempt_sandbox(config: RunConfig, image: str, provider: SandboxProvider) -> Iterator[Sandbox]:
    """A sandbox as an attempt of a run gets it, with its agent's binds and its gateway's socket.

    Raises SandboxFailure.
    """
    agent = make_agent(config.method.agent.kind, config.method.agent.options)
    agent.prepare(lambda line: None)
    with ExitStack() as held:
        door = None
        if agent.model_in_sandbox:
            calls = Path(held.enter_context(tempfile.TemporaryDirectory()), "calls.parquet")
            gateway = held.enter_context(Gateway(_NOWHERE, config.gateway))
            door = gateway.open(budget=config.budget, seed=0, calls=calls)
        binds = attempt_binds(agent, provider.kind, door)
        yield held.enter_context(
            provider.start(image, limits=config.limits, owner=_OWNER, binds=binds)
        )


def _sample(run: Path, ledger: Ledger, most: int) -> Sequence[Instance]:
    suite = load_suite(str(RunFolder(run).suite), strict=False)
    planted = [each for each in suite.instances if ledger.carried_by(each)]
    step = max(1, len(planted) // most)
    return planted[::step][:most]


def _checked(found: dict[str, Searched], problems: list[str]) -> Check:
    cut = [f"{name}: {', '.join(each.cut)}" for name, each in found.items() if each.cut]
    findings = [
        _finding(name, place) for name, searched in found.items() for place in searched.places
    ]
    status = (
        Status.FAILED if findings else Status.INCONCLUSIVE if problems or cut else Status.PASSED
    )
    reason = f"{len(findings)} sightings in {len(found)} sandboxes"
    if problems or cut:
        reason += f"; not searched: {'; '.join([*problems, *cut][:3])}"
    figures: dict[str, Any] = {
        "sandboxes": [
            {
                "sandbox": name,
                "files": each.files,
                "bytes": each.bytes,
                "sightings": len(each.places),
                "cut": each.cut,
            }
            for name, each in found.items()
        ],
        "problems": problems,
    }
    return Check(
        name=NAME,
        question=QUESTION,
        status=status,
        reason=reason,
        findings=tuple(findings[:_SHOWN]),
        figures=figures,
    )


def _finding(name: str, place: Any) -> Finding:
    planted = place.sighting.planted
    what = (
        f"{planted.field} of {planted.instance_id}" if planted else "an oracle field (cut canary)"
    )
    text = planted.canary if planted else "the ledger's prefix"
    return Finding(
        severity=Severity.LEAK,
        title=f"{what} is in a student's sandbox",
        where=f"{place.file}:{place.at}",
        evidence=f"canary {text} ({place.sighting.encoding}) in the {name}",
        reproduce=f"in the sandbox: grep -rIl {text} / --exclude-dir=proc; env | grep {text}",
    )
