"""Endpoints in trouble, and real ones."""

import json
from pathlib import Path
from typing import Any

import httpx
import pytest
import torch
from aiohttp import web

from harness.gateway import Gateway
from harness.records import Budget
from tests.gateway.clients import QUICK
from tests.gateway.scripted import Scripted as Upstream
from tests.gateway.scripted import answer as upstream_answer
from tests.trainers.omniopd.teachers.scripted import Scripted, ask, one, rest
from trainers.engine.errors import ConfigError, TeacherError
from trainers.omniopd.settings import EndpointSettings, LocalTextSettings
from trainers.omniopd.teachers.bounds import TokenBound
from trainers.omniopd.teachers.endpoint import EndpointTeacher
from trainers.omniopd.teachers.local import LocalTextTeacher


def test_requests_side_by_side_and_answers_as_they_come(tmp_path: Path) -> None:
    with Scripted(flags=True).serve() as server:
        teacher = server.teacher(tmp_path, concurrency=4)
        teacher.check([])
        server.latency, server.busiest = 0.02, 0
        asks = [ask(f"text {number}") for number in range(12)]
        found = dict(teacher.continuations(asks, 1, 0))
    assert server.busiest == 4
    assert {n: each.texts for n, each in found.items()} == {
        number: (f" after {number}",) for number in range(12)
    }


def test_trouble_that_passes_and_trouble_that_does_not(tmp_path: Path) -> None:
    with Scripted(flags=True).serve() as server:
        teacher = server.teacher(tmp_path)
        teacher.check([])
        server.trouble = [(429, "slow down"), (503, "loading")]
        assert one(teacher, "a").texts == (" after a",) * 2
        before = len(server.asked)
        server.trouble = [(500, "out of memory")] * 9
        with pytest.raises(TeacherError, match=r"status 500 \(out of memory\), 3 times"):
            one(teacher, "b", count=1)
        assert len(server.asked) == before + 3
        server.trouble = [(403, "not for you")]
        with pytest.raises(TeacherError, match="status 403: not for you"):
            one(teacher, "c")
        server.trouble = [(404, "no such model")]
        with pytest.raises(TeacherError, match="no such model; does text_teacher"):
            one(teacher, "d")


@pytest.mark.parametrize(
    "raw",
    [
        b"{",
        b"[]",
        b"null",
        b'{"choices": []}',
        b'{"choices": [{"message": {"content": 3}}]}',
        b'{"choices": [7]}',
        b'{"choices": {"a": 1}}',
        b'{"choices": [{"index": "x", "message": {"content": "a"}}]}',
    ],
)
def test_answers_that_are_none(tmp_path: Path, raw: bytes) -> None:
    with Scripted(flags=True).serve() as server:
        teacher = server.teacher(tmp_path)
        teacher.check([])
        server.raw = raw
        with pytest.raises(TeacherError, match="the answer has no choices with text: "):
            one(teacher, "a")


def test_an_answer_too_many_or_too_large(tmp_path: Path) -> None:
    with Scripted(flags=True).serve() as server:
        teacher = server.teacher(tmp_path)
        teacher.check([])
        server.several = "ignored"
        with pytest.raises(TeacherError, match="gave 1 continuations of 2"):
            one(teacher, "a")
        server.raw = json.dumps({"choices": [{"message": {"content": "x" * 2**21}}]}).encode()
        with pytest.raises(TeacherError, match=r"the answer is larger than 1,\d+,\d+ bytes"):
            one(teacher, "b", count=1)


def test_refusals_of_the_model_are_empty_texts(tmp_path: Path) -> None:
    with Scripted(flags=True).serve() as server:
        teacher = server.teacher(tmp_path)
        teacher.check([])
        server.silent = True
        assert one(teacher, "a").texts == ("", "")
        server.trouble = [(400, "blocked", "content_filter")]
        filtered = one(teacher, "b")
        assert filtered.texts == ("", "")
        assert filtered.prompt_tokens == filtered.generated_tokens == 0
        server.trouble = [(400, "blocked")]
        with pytest.raises(TeacherError, match="status 400: blocked"):
            one(teacher, "b")


def test_without_usage_the_bound_is_charged(tmp_path: Path) -> None:
    with Scripted(flags=True, usage=False, trailing="continues").serve() as server:
        teacher = server.teacher(tmp_path)
        found = one(teacher, "ä b", count=2)
    assert not teacher.capability.usage
    bound = TokenBound()
    assert found.prompt_tokens == bound.prompt(ask("ä b"))
    assert found.generated_tokens == min(2 * len(" after b"), 16)
    assert bound.text("ä") == 2


def test_the_key_is_in_no_error_and_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MODEL_KEY", "sk-very-secret")
    with Scripted(flags=True).serve() as server:
        teacher = server.teacher(tmp_path, api_key_env="MODEL_KEY")
        one(teacher, "a")
        assert server.headers[-1]["authorization"] == "Bearer sk-very-secret"
        server.trouble = [(401, "no such key: sk-very-secret")]
        with pytest.raises(TeacherError, match=r"no such key: \[key\]") as caught:
            one(teacher, "b")
        server.raw = b'{"choices": "sk-very-secret"}'
        with pytest.raises(TeacherError) as other:
            one(teacher, "c")
    said = f"{caught.value} {other.value} {caught.value.__cause__} {teacher.identity}"
    said += " ".join(path.read_text() for path in tmp_path.rglob("*") if path.is_file())
    assert "sk-very-secret" not in said
    monkeypatch.delenv("MODEL_KEY")
    with pytest.raises(TeacherError, match=r"text_teacher\.api_key_env: .* no variable MODEL_KEY"):
        server.teacher(tmp_path, api_key_env="MODEL_KEY").check([])
    for address in ("http://u:sk-x@h/v1", "http://h/v1?key=sk-x", "h:80"):
        with pytest.raises(ConfigError, match="endpoint") as wrong:
            server.teacher(tmp_path, endpoint=address).check([])
        assert "sk-x" not in str(wrong.value)


def test_texts_too_long_for_the_model_are_said_before_anything_is_paid(tmp_path: Path) -> None:
    def tokenizer(text: str, **_: Any) -> dict[str, list[int]]:
        return {"input_ids": [0] * len(text)}

    with Scripted(flags=True).serve() as server:
        teacher = EndpointTeacher(server.settings(), tmp_path, TokenBound(tokenizer))
        teacher.check([ask("x" * 3800)])
        with pytest.raises(TeacherError, match="'one' takes 4,096 tokens"):
            teacher.check([ask("x" * 4096)])


def test_behind_a_gateway(tmp_path: Path) -> None:
    continues = True

    async def step(endpoint: Upstream, request: web.Request, body: dict[str, Any]) -> Any:
        last = body["messages"][-1]
        text = rest(last["content"]) if continues and last["role"] == "assistant" else "Hello."
        return await upstream_answer(endpoint, request, body, {"content": text})

    with (
        Upstream(step, ids=False).serve() as upstream,
        Gateway(upstream.endpoint, QUICK) as gateway,
        gateway.open(budget=Budget(), seed=1, calls=tmp_path / "calls.parquet") as door,
    ):
        values = {"kind": "endpoint", "endpoint": f"unix:{door.folder}/gateway.sock"}
        settings = EndpointSettings.model_validate(values | {"model": "scripted"})
        teacher = EndpointTeacher(settings, tmp_path / "kept", TokenBound())
        found = one(teacher, "The quick", count=3)
        continues = False
        anew = EndpointTeacher(settings, tmp_path / "anew", TokenBound())
        assert anew.capability.prefill == "instruction"
        text = settings.model_copy(update={"prompt": "text"})
        with pytest.raises(TeacherError, match=r"POST /v1/completions is not served here"):
            EndpointTeacher(text, tmp_path / "kept", TokenBound()).check([])
    assert (teacher.capability.prefill, teacher.capability.together) == ("trailing", 1)
    assert found.texts == (rest("The quick"),) * 3
    assert found.requests == 3
    assert found.prompt_tokens > 0


@pytest.mark.parametrize("prompt", ["chat", "text"])
def test_the_embedded_server(client: httpx.Client, tmp_path: Path, prompt: str) -> None:
    values = {"kind": "endpoint", "endpoint": f"{client.base_url}/v1", "model": "tiny"}
    settings = EndpointSettings.model_validate(values | {"prompt": prompt})
    teacher = EndpointTeacher(settings, tmp_path, TokenBound())
    text = ask("a text", tokens=6)
    if prompt == "text":
        text = text._replace(messages=())
    [(_, found)] = teacher.continuations([text], 3, 0)
    [(_, again)] = teacher.continuations([text], 3, 0)
    assert found.texts == again.texts
    assert len(set(found.texts)) == 3
    assert found.requests == 3
    assert 3 <= found.generated_tokens <= 18
    assert set(teacher.capability.left_out) == {"min_p", "repetition_penalty", "n"}
    assert teacher.capability.prefill == ("instruction" if prompt == "chat" else "none")


def test_a_served_model_and_the_same_one_here_say_the_same(
    client: httpx.Client, tiny_folder: Path, tmp_path: Path
) -> None:
    sampling = {"prompt": "text", "temperature": 0}
    served = {"kind": "endpoint", "endpoint": f"{client.base_url}/v1", "model": "tiny"}
    here = {"kind": "local", "model": str(tiny_folder), "dtype": "float32"}
    remote = EndpointTeacher(
        EndpointSettings.model_validate(served | sampling), tmp_path, TokenBound()
    )
    local = LocalTextTeacher(LocalTextSettings.model_validate(here | sampling), torch.device("cpu"))
    text = ask("def f(x):", characters=10**6, tokens=12)._replace(messages=())
    [(_, found)] = remote.continuations([text], 1, 0)
    [(_, expected)] = local.continuations([text], 1, 0)
    assert found.texts == expected.texts
    assert found.prompt_tokens == expected.prompt_tokens
    assert found.generated_tokens == expected.generated_tokens
