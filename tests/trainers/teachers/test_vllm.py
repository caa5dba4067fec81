"""A teacher behind vLLM's wire format says what the same model says on this machine."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.trainers.teachers.pi_material import (
    TEXTS,
    contexts,
    pi_teacher,
    trajectory,
    write_adapter,
)
from tests.trainers.teachers.vllm_counterpart import NAME, Counterpart, serving
from trainers.engine.config import Interface, VllmSettings
from trainers.engine.errors import MismatchError, TeacherError
from trainers.losses.divergences import total_variation
from trainers.losses.sources import Source
from trainers.segments.sampling import Place
from trainers.teachers.vllm import VllmTeacher
from trainers.teachers.vllm_client import VllmClient
from trainers.teachers.vllm_connect import connect_vllm
from trainers.teachers.vllm_format import read_continuations, read_prompt_logprobs

RECORDED = json.loads(Path(__file__).with_name("vllm_0_32.json").read_text())
ONE = {"call_graph": TEXTS["call_graph"]}
SOME = {"call_graph": ("f -> g", "", "h"), "gold_patch": ("", "", "- x\n+ y")}


@pytest.fixture(scope="module")
def server(base: Path, adapters: dict[str, Path]) -> Counterpart:
    return Counterpart(base, adapters)


@pytest.fixture
def endpoint(server: Counterpart) -> Iterator[str]:
    server.asked.clear()
    with serving(server.app) as address:
        yield address


def connect(
    endpoint: str, base: Path, cache: Path, texts: dict[str, Any], **changes: Any
) -> VllmTeacher:
    values = {
        "kind": "vllm",
        "endpoint": endpoint,
        "model": NAME,
        "tokenizer": str(base),
        "adapters": {name: f"pi-{name}" for name in texts},
        "top": -1,
        **changes,
    }
    settings = VllmSettings.model_validate(values)
    return connect_vllm(settings, cache, contexts(texts), tuple(sorted(texts)))


def distribution(source: Source) -> Tensor:
    return source.logits(*source.columns).log_softmax(-1, dtype=torch.float32)


@pytest.mark.parametrize(
    ("texts", "interface"),
    [(ONE, Interface.CONTEXT), (TEXTS, Interface.CONTEXT), *((SOME, each) for each in Interface)],
)
def test_all_log_probs_are_the_local_teachers(
    endpoint: str,
    base: Path,
    adapters: dict[str, Path],
    tmp_path: Path,
    texts: dict[str, Any],
    interface: Interface,
) -> None:
    mine = {} if interface is Interface.PROMPT else {name: adapters[name] for name in texts}
    local = pi_teacher(base, mine, texts, interface=interface)
    remote = connect(endpoint, base, tmp_path, texts, interface=interface.value)
    one = trajectory(bos=True)
    for there, here in ((remote.base, local.base), (remote.pi, local.pi)):
        found, expected = (distribution(each.project([one, one])) for each in (there, here))
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)
    apart = distribution(remote.pi.project([one])) - distribution(remote.base.project([one]))
    assert apart.abs().max() > 0.1
    if texts is SOME:
        assert apart[4:9].abs().max() == 0


@pytest.mark.parametrize("top", [5, 20])
def test_an_error_is_no_larger_than_the_tail(
    endpoint: str, base: Path, adapters: dict[str, Path], tmp_path: Path, top: int
) -> None:
    local = pi_teacher(base, {"call_graph": adapters["call_graph"]}, ONE)
    remote = connect(endpoint, base, tmp_path, ONE, top=top)
    for there, here in ((remote.base, local.base), (remote.pi, local.pi)):
        found = there.project([trajectory()])
        apart = total_variation(distribution(found), distribution(here.project([trajectory()])))
        tail = found.facts["tail"]
        assert bool((apart <= tail + 1e-6).all())
        assert 0.01 < float(tail.mean()) < 0.99
        assert float(apart.max()) > 1e-3


def test_nothing_is_asked_twice(
    server: Counterpart, endpoint: str, base: Path, tmp_path: Path
) -> None:
    first = connect(endpoint, base, tmp_path, SOME)
    both = [trajectory(), trajectory("r/i/0#1")]
    expected = distribution(first.pi.project(both))
    assert len(server.asked) == 2 * 4  # the base, two texts of one source, one of the other
    again = connect(endpoint, base, tmp_path, SOME)
    assert torch.equal(distribution(again.pi.project(both)), expected)
    distribution(again.base.project(both))
    places = [Place(both[0], 5)]
    segments = again.base.continuations(places, 2, 4, 0)
    assert len(server.asked) == 9
    assert torch.equal(again.base.continuations(places, 2, 4, 0)[0].ids, segments[0].ids)
    assert len(server.asked) == 9
    damaged = max(tmp_path.rglob("*.safetensors"), key=lambda path: path.stat().st_size)
    damaged.write_bytes(damaged.read_bytes()[:-1])
    assert torch.equal(distribution(again.pi.project(both)), expected)
    assert len(server.asked) == 10


def test_trouble_passes_or_is_told(
    server: Counterpart, endpoint: str, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tenacity.nap.time.sleep", lambda _: None)
    teacher = connect(endpoint, base, tmp_path, {}, attempts=3)
    server.trouble = [503, 429]
    teacher.base.project([trajectory()])
    assert len(server.asked) == 3
    server.trouble = [500] * 3
    with pytest.raises(TeacherError, match=r"status 500 \(made up\), 3 times: is the server up"):
        teacher.base.project([trajectory("r/i/0#1")])
    server.max_logprobs = 20
    try:
        with pytest.raises(TeacherError, match="status 400: Requested prompt logprobs of 258"):
            teacher.base.project([trajectory("r/i/0#1")])
    finally:
        server.max_logprobs = -1
    nobody = "http://127.0.0.1:9"
    with pytest.raises(TeacherError, match=f"teacher {nobody}/v1/models: .*refused, 2 times"):
        connect(nobody, base, tmp_path, {}, attempts=2)
    with pytest.raises(TeacherError, match="no variable NO_SUCH_KEY"):
        connect(endpoint, base, tmp_path, {}, api_key_env="NO_SUCH_KEY")


def test_another_model_is_refused(
    server: Counterpart,
    endpoint: str,
    base: Path,
    adapters: dict[str, Path],
    tmp_path: Path,
) -> None:
    with pytest.raises(MismatchError, match=r"not 'other' \(teacher\.model\)"):
        connect(endpoint, base, tmp_path, {}, model="other")
    with pytest.raises(MismatchError, match="--enable-lora --lora-modules pi-nothing=FOLDER"):
        connect(endpoint, base, tmp_path, {}, adapters={"nothing": "pi-nothing"})
    server.parent = "another"
    try:
        with pytest.raises(MismatchError, match="is an adapter of 'another', not of 'tiny'"):
            connect(endpoint, base, tmp_path, ONE)
    finally:
        server.parent = NAME
    teacher = connect(endpoint, base, tmp_path, ONE)
    teacher.pi.check([trajectory()])
    teacher.pi.check([trajectory()])
    retrained = write_adapter(tmp_path / "retrained", base, 99, "call_graph")
    changed = Counterpart(base, {"call_graph": retrained})
    with serving(changed.app) as other:
        with pytest.raises(TeacherError, match="'pi-call_graph' is not the model that answered be"):
            connect(other, base, tmp_path, ONE).pi.check([trajectory()])
        connect(other, base, tmp_path, ONE).base.project([trajectory()])
    long = trajectory()
    object.__setattr__(long, "ids", np.resize(long.ids, 512))
    with pytest.raises(MismatchError, match=r"512 tokens.* takes 511"):
        connect(endpoint, base, tmp_path, ONE).pi.check([long])


def test_segments_are_the_models_own(
    server: Counterpart, endpoint: str, base: Path, tmp_path: Path
) -> None:
    teacher = connect(endpoint, base, tmp_path, SOME)
    one = trajectory()
    places = [Place(one, 5), Place(one, 12), Place(one, 2)]
    found = teacher.pi.continuations(places, 3, 6, seed=1)
    assert [tuple(each.ids.shape) for each in found] == [(3, 6)] * 3
    by_prompt = {len(body["prompt"]): body for body in server.asked}
    block = len("[PI]\nf -> g\n[/PI]\n")
    assert by_prompt[5 + 1 + block]["model"] == "pi-call_graph"
    assert by_prompt[12 + 1]["model"] == NAME  # its turn has no PI
    assert by_prompt[12 + 1]["prompt"] == one.ids[:13].tolist()
    seeds = [body["seed"] for body in server.asked]
    assert min(abs(a - b) for a in seeds for b in seeds if a != b) > 3
    assert all(body["stop_token_ids"] == [257] for body in server.asked)
    with pytest.raises(TeacherError, match="segments of several PI sources"):
        teacher.pi.continuations([Place(one, 20)], 2, 4, seed=1)
    cold = teacher.base.continuations(places, 3, 6, seed=2)
    assert not torch.equal(cold[1].ids, found[1].ids)
    teacher.model.vocabulary = int(found[1].ids.max())
    with pytest.raises(TeacherError, match="ids that teacher and student share"):
        teacher.base.continuations([places[1]], 3, 6, seed=1)


def test_a_recorded_vllm_is_understood() -> None:
    """vLLM 0.32.0 on a CPU, `vllm_0_32.json`."""
    _, _, prompt, segments, missing, too_many = RECORDED
    found = read_prompt_logprobs(prompt["answer"], [65, 66, 67, 68], np.array([0, 2]), "here")
    assert found["ids"].tolist() == [[66, 204, 164], [68, 164, 76]]
    assert found["log_probs"][0].tolist() == pytest.approx([-7.486587, -1.466921, -1.501351])
    ids, lengths = read_continuations(segments["answer"], 2, 16, "here")
    assert [ids[row, : lengths[row]].tolist() for row in range(2)] == [
        one["token_ids"] for one in segments["answer"]["choices"]
    ]
    assert 1 <= int(lengths.min()) < 16
    assert [missing["status"], too_many["status"]] == [404, 400]
    with pytest.raises(TeacherError, match="of 4 tokens for a prompt of 3"):
        read_prompt_logprobs(prompt["answer"], [65, 66, 67], np.array([0]), "here")
    with pytest.raises(TeacherError, match="token 1 of the prompt is not among"):
        read_prompt_logprobs(prompt["answer"], [65, 9, 67, 68], np.array([0]), "here")
    with pytest.raises(TeacherError, match="no prompt_logprobs as vLLM gives them"):
        read_prompt_logprobs(segments["answer"], [65, 66, 67], np.array([0]), "here")
    with pytest.raises(TeacherError, match=r"return_token_ids. needs vLLM 0\.10\.2"):
        read_continuations(prompt["answer"], 1, 8, "here")


def test_the_counterpart_has_the_form_of_the_recorded_one(
    server: Counterpart, endpoint: str
) -> None:
    client = VllmClient(endpoint)
    models, tokens, prompt, segments, *_ = RECORDED
    assert client.served().keys() >= {NAME}
    card = next(iter(client.served().values()))
    assert card.keys() <= models["answer"]["data"][0].keys()
    assert client.tokenize(NAME, "hi") == tokens["answer"]["tokens"]
    for recorded in (prompt, segments):
        made = client.complete(recorded["request"] | {"model": NAME})
        assert made.keys() <= recorded["answer"].keys()
        choices = [each["choices"] for each in (made, recorded["answer"])]
        assert len(choices[0]) == len(choices[1])
        assert choices[0][0].keys() <= choices[1][0].keys()
    entries = [each["choices"][0]["prompt_logprobs"] for each in (made, recorded["answer"])]
    assert entries == [None, None]
    made = client.complete(prompt["request"])
    ours, theirs = (each["choices"][0]["prompt_logprobs"] for each in (made, prompt["answer"]))
    assert [one and len(one) for one in ours] == [one and len(one) for one in theirs]
    assert next(iter(ours[1].values())).keys() == next(iter(theirs[1].values())).keys()
