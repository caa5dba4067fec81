"""Sandboxes searched from inside: whatever a process there can see."""

import base64
import dataclasses
import shlex
from pathlib import Path
from typing import Any

import pytest

from harness.agents.base import Agent
from harness.leakage import containers
from harness.leakage.canaries_plant import plant
from harness.leakage.containers_search import Searched, search_sandbox
from harness.leakage.findings import Severity, Status
from harness.leakage.inputs import AuditInputs
from harness.leakage.ledger import Ledger
from harness.leakage.taint import Scanner
from harness.records import Instance
from harness.sandboxes.base import MIB, Bind, Limits, Sandbox
from harness.suites.load import load_suite, rows_sha256
from tests.leakage.student_run import make_run
from tests.real import PROVIDERS, RealInstance, real_instance

SEED = "ab" * 32


@pytest.fixture(params=PROVIDERS)
def real(request: Any) -> RealInstance:
    return real_instance(request.param)


def planted(instance: Instance) -> tuple[Instance, Ledger]:
    suite = dataclasses.replace(
        load_suite("pypi-mini/test"), instances=(instance,), sha256=rows_sha256((instance,))
    )
    (copy,), ledger = plant(suite, seed=SEED)
    return copy, ledger


def canary(ledger: Ledger, field: str) -> str:
    (found,) = (each.canary for each in ledger.planted if each.field == field)
    return found


def searched(sandbox: Sandbox, ledger: Ledger, **bounds: Any) -> Searched:
    scanner = Scanner(ledger.prefix, ledger.by_canary)
    return search_sandbox(sandbox, scanner, "it", **{"system": (), **bounds})


@pytest.mark.slow
def test_files_names_links_and_git_objects_are_searched(real: RealInstance) -> None:
    _, ledger = planted(real.instance)
    with real.provider.start(real.image, limits=Limits(), owner="test-containers") as sandbox:
        clean = searched(sandbox, ledger)
        assert clean.places == []
        assert clean.files > 100
        assert clean.cut == []
        text = canary(ledger, "patch")
        sandbox.write("/tmp/deep/notes.txt", b"x" * 2_000_000 + text.encode())
        sandbox.write("/testbed/b.bin", base64.b64encode(canary(ledger, "test_patch").encode()))
        hints, script = canary(ledger, "hints_text"), canary(ledger, "eval_script")
        done = sandbox.exec(
            f"ln -s /nowhere/{hints} /tmp/link && "
            f"git -c safe.directory='*' hash-object -w --stdin <<<{shlex.quote(script)}",
            timeout=60,
        )
        assert done.exit_code == 0, done.text
        found = searched(sandbox, ledger)
    by_field = {each.sighting.planted.field: each for each in found.places if each.sighting.planted}
    assert set(by_field) == {"patch", "test_patch", "hints_text", "eval_script"}
    assert by_field["patch"].file == "it:/tmp/deep/notes.txt"
    assert by_field["test_patch"].sighting.encoding == "base64"
    assert by_field["hints_text"].at == "its name"
    assert by_field["eval_script"].file == "it:/testbed/.git"


def test_processes_and_variables_are_searched(real: RealInstance) -> None:
    _, ledger = planted(real.instance)

    class Told:
        """The sandbox, with a variable and a process beside each command."""

        def exec(self, command: str, **options: Any) -> Any:
            env = {"SECRET": canary(ledger, "patch")}
            beside = f"(exec -a {canary(ledger, 'hints_text')} sleep 3) & sleep 0.3;"
            return sandbox.exec(f"{beside} {command}", env=env, **options)

    with real.provider.start(real.image, limits=Limits(), owner="test-containers") as sandbox:
        found = searched(Told(), ledger, max_bytes=64 * 1024)  # type: ignore[arg-type]
    fields = {each.sighting.planted.field for each in found.places if each.sighting.planted}
    assert fields == {"patch", "hints_text"}
    assert {each.file for each in found.places} == {"it: environment and processes"}


def test_what_is_too_large_or_slow_is_cut_and_said(real: RealInstance) -> None:
    _, ledger = planted(real.instance)
    with real.provider.start(real.image, limits=Limits(), owner="test-containers") as sandbox:
        small = searched(sandbox, ledger, max_bytes=MIB)
        assert any("more than" in each for each in small.cut)
        assert small.bytes < 20 * MIB
        assert sandbox.exec("true", timeout=20).exit_code == 0


def test_a_run_is_sampled_and_its_sandboxes_searched(
    real: RealInstance, tmp_path: Path, monkeypatch: Any
) -> None:
    copy, ledger = planted(real.instance)
    path = tmp_path / "ledger.json"
    path.write_text(ledger.model_dump_json())
    run = make_run(tmp_path / "run", [copy], sandbox=real.provider.kind)  # type: ignore[arg-type]
    seen: list[str] = []

    def look(sandbox: Sandbox, scanner: Scanner, name: str, **_: Any) -> Searched:
        seen.append(sandbox.exec("ls /testbed", timeout=20).text)
        text = canary(ledger, "patch").encode()
        places = containers_places(scanner, text)
        return Searched(places=places if len(seen) == 2 else [], files=3, bytes=9)

    monkeypatch.setattr(containers, "search_sandbox", look)
    inputs = AuditInputs(evaluation="x", runs=(run,), ledger=path, containers=1)
    found = containers.check(inputs)
    assert found.status is Status.PASSED, found.reason
    assert "setup" in seen[0] or "pyproject" in seen[0]
    leaking = containers.check(inputs)
    assert leaking.status is Status.FAILED
    (finding,) = leaking.findings
    assert finding.severity is Severity.LEAK
    assert copy.instance_id in finding.title


def test_an_agent_with_the_model_in_its_sandbox_has_its_socket_there(
    real: RealInstance, tmp_path: Path, monkeypatch: Any
) -> None:
    class Inside(Agent):
        model_in_sandbox = True

        def run(self, *_: Any, **__: Any) -> Any:
            raise NotImplementedError

    (tmp_path / "toolchain").mkdir()
    (tmp_path / "toolchain" / "note").write_text("a bind")
    bind = Bind(source=str(tmp_path / "toolchain"), target="/opt/tools")
    monkeypatch.setattr(Inside, "binds", lambda self, kind: [bind])
    monkeypatch.setattr(containers, "make_agent", lambda kind, options: Inside())
    config = containers.load_config(make_run(tmp_path / "run", [real.instance]))
    with containers.attempt_sandbox(config, real.image, real.provider) as sandbox:
        seen = sandbox.exec("ls -F /run/harness /opt/tools", timeout=20).text
    assert "gateway.sock=" in seen
    assert "note" in seen


def containers_places(scanner: Scanner, text: bytes) -> list[Any]:
    from harness.leakage.taint_sinks import Place, Sink

    return [Place(Sink.SANDBOX, "it:/tmp/x", "content", each) for each in scanner.scan(text)]


def test_runs_that_cannot_be_searched_are_said(tmp_path: Path) -> None:
    instance = load_suite("pypi-mini/test").instances[0]
    copy, ledger = planted(instance)
    path = tmp_path / "ledger.json"
    path.write_text(ledger.model_dump_json())
    run = make_run(tmp_path / "run", [instance])
    inputs = AuditInputs(evaluation="x", runs=(run,), ledger=path, containers=2)
    found = containers.check(inputs)
    assert found.status is Status.INCONCLUSIVE
    assert "no instance has canaries" in found.reason
    assert copy != instance
    assert containers.check(AuditInputs(evaluation="x", runs=(run,))).status is Status.NOT_RUN
