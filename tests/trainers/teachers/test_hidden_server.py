"""Hidden states of another process are those of this one, to the bit."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import torch

from tests.trainers.engine.material import write_model
from tests.trainers.teachers.pi_material import CPU, TEXTS, contexts, pi_teacher, trajectory
from tests.trainers.teachers.vllm_counterpart import serving
from trainers.engine.config import HiddenServerSettings
from trainers.engine.errors import MismatchError, TeacherError
from trainers.engine.networks import load_frozen, load_frozen_with
from trainers.teachers.hidden_client import HiddenClient, HiddenRows, HiddenTeacher
from trainers.teachers.hidden_server import create_app
from trainers.teachers.local import LocalTeacher
from trainers.teachers.pi_teacher import PITeacher


def client(endpoint: str, **changes: Any) -> HiddenClient:
    values = {"kind": "hidden_server", "endpoint": endpoint, "model": "base", "attempts": 2}
    return HiddenClient(HiddenServerSettings.model_validate(values | changes))


@pytest.fixture
def endpoint(base: Path) -> Iterator[str]:
    with serving(create_app(load_frozen(str(base), "bfloat16", None, CPU))) as address:
        yield address


def test_states_are_the_local_teachers(endpoint: str, base: Path, tmp_path: Path) -> None:
    asking = client(endpoint)
    network = asking.network(CPU)
    teacher = HiddenTeacher(asking, network, tmp_path)
    local = LocalTeacher(load_frozen(str(base), "bfloat16", None, CPU))
    both = [trajectory(), trajectory("r/i/0#1")]
    teacher.check(both)
    expected = local.project(both)
    for _ in range(2):
        found = teacher.project(both)
        assert found.hidden.dtype is torch.bfloat16
        assert torch.equal(found.hidden, expected.hidden)
        assert torch.equal(found.head, expected.head)
    assert len([*tmp_path.rglob("*.safetensors")]) == 2
    mine = local.model
    for name in ("name", "sha256", "tokenizer_sha256", "embedded", "longest", "tokens"):
        assert getattr(network, name) == getattr(mine, name)
    assert network.tokenizer.bos_token_id == mine.tokenizer.bos_token_id
    assert network.tokenizer.all_special_ids == mine.tokenizer.all_special_ids


def test_pi_is_the_local_teachers(base: Path, adapters: dict[str, Path]) -> None:
    local = pi_teacher(base, adapters, TEXTS)
    app = create_app(load_frozen_with(str(base), "float32", adapters, CPU), sorted(adapters))
    with serving(app) as endpoint:
        asking = client(endpoint, adapters=sorted(adapters))
        network: Any = asking.network(CPU)
        rows = HiddenRows(asking, CPU)
        remote = PITeacher(network, contexts(TEXTS), sorted(TEXTS), adapted=rows)
        for there, here in ((remote.base, local.base), (remote.pi, local.pi)):
            found, expected = there.project([trajectory()]), here.project([trajectory()])
            assert torch.equal(found.hidden, expected.hidden)
        with pytest.raises(MismatchError, match="start it with --adapter other=FOLDER"):
            client(endpoint, adapters=["other"])
        with pytest.raises(TeacherError, match="segments cannot be sampled by a hidden-state"):
            rows.read(remote.rows(trajectory()), keep=True)


def test_another_model_is_refused(endpoint: str, tmp_path: Path) -> None:
    with pytest.raises(MismatchError, match=r"serves base \(.*\), not other \(any weights\)"):
        client(endpoint, model="other")
    with pytest.raises(MismatchError, match=r"not base \(00000000\)"):
        client(endpoint, sha256="00000000")
    asking = client(endpoint)
    teacher = HiddenTeacher(asking, asking.network(CPU))
    another = load_frozen(str(write_model(tmp_path / "base", 5)), "bfloat16", None, CPU)
    with serving(create_app(another)) as other:
        asking._http._client.base_url = httpx.URL(other)
        with pytest.raises(TeacherError, match=r"status 409: this is base with weights .*, not "):
            teacher.project([trajectory()])


def test_hostile_requests_are_refused(endpoint: str) -> None:
    asking = client(endpoint)
    for body in (b"", b"\xff" * 64, b"\x08\0\0\0\0\0\0\0{}      "):
        answer = httpx.post(f"{endpoint}/rows", content=body)
        assert answer.status_code == 400
        assert "no rows" in answer.json()["error"]["message"]
    one = trajectory()
    with pytest.raises(TeacherError, match="a state outside its row"):
        asking.states(one.ids, one.positions + 99)
    with pytest.raises(TeacherError, match="ids up to 999, but base takes 512 tokens of 258 ids"):
        asking.states(one.ids * 0 + 999, one.positions)


@pytest.mark.slow
def test_a_process_on_a_socket(base: Path, tmp_path: Path) -> None:
    place = tmp_path / "teacher"
    command = [sys.executable, "-m", "trainers.teachers.hidden_server", str(base)]
    with subprocess.Popen(
        [*command, "--dtype", "float32", "--socket", str(place)], stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout is not None
        said = [server.stdout.readline() for _ in range(2)]
        try:
            assert said[1] == f"serving on unix:{place}\n"
            assert place.stat().st_mode & 0o777 == 0o600
            asking = client(f"unix:{place}")
            assert said[0] == f"base  sha256 {asking.network(CPU).sha256}\n"
            found = HiddenTeacher(asking, asking.network(CPU)).project([trajectory()])
            local = LocalTeacher(load_frozen(str(base), "float32", None, CPU))
            torch.testing.assert_close(found.hidden, local.project([trajectory()]).hidden)
        finally:
            server.send_signal(signal.SIGTERM)
    with pytest.raises(TeacherError, match=f"unix:{place}/identity: .*, 2 times: is the server up"):
        client(f"unix:{place}")
