"""Endpoints of many kinds, and what each is asked."""

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
from tests.trainers.omniopd.teachers.scripted import QUESTION, Scripted, ask, rest
from trainers.engine.errors import ConfigError, TeacherError
from trainers.omniopd.settings import EndpointSettings, LocalTextSettings
from trainers.omniopd.teachers.bounds import TokenBound
from trainers.omniopd.teachers.endpoint import EndpointTeacher
from trainers.omniopd.teachers.local import LocalTextTeacher
from trainers.omniopd.teachers.prefill import INSTRUCTION, frame
from trainers.omniopd.teachers.wire import named
from trainers.omniopd.texts import Answer

FLAGS = {"continue_final_message": True, "add_generation_prompt": False}


def one(teacher: EndpointTeacher, text: str, count: int = 2, seed: int = 0, **more: Any) -> Answer:
    [(number, found)] = teacher.continuations([ask(text, **more)], count, seed)
    assert number == 0
    return found


def test_vllm_continues_an_answer_with_one_request(tmp_path: Path) -> None:
    with Scripted(flags=True).serve() as server:
        teacher = server.teacher(tmp_path, temperature=0.7, top_p=0.9, length_factor=1.5)
        found = one(teacher, "The quick", count=3, tokens=5)
        can = teacher.capability
    assert (can.prefill, can.strips_space, can.together) == ("continue_final_message", False, 10)
    assert (can.usage, can.cached_tokens, can.served) == (True, True, "/models/one")
    assert can.left_out == ()
    assert len(server.asked) == 5
    assert server.asked[0]["n"] == 10
    assert can.requests == 4
    assert can.generated_tokens == 30 + 3 * 3
    assert server.last["seed"] != 0
    seed = server.last.pop("seed")
    assert server.last == {
        "model": "one",
        "messages": [QUESTION.model_dump(), {"role": "assistant", "content": "The quick"}],
        "max_tokens": 8,
        "temperature": 0.7,
        "top_p": 0.9,
        "top_k": -1,
        "min_p": 0.0,
        "repetition_penalty": 1.0,
        "n": 3,
        **FLAGS,
    }
    assert found.texts == (rest("The quick"),) * 3
    prompt = len("go on") + len("The quick") + 20
    assert (found.prompt_tokens, found.generated_tokens) == (prompt, 9)
    assert found.cached_tokens == prompt // 2
    assert found.requests == 1
    with server.serve():
        again = server.teacher(tmp_path, temperature=0.7, top_p=0.9, length_factor=1.5)
        one(again, "The quick", count=3, tokens=5)
        assert server.last["seed"] == seed
        one(again, "The quick", count=3, tokens=5, seed=1)
        assert server.last["seed"] != seed
        assert again.capability == can
    assert len(server.asked) == 7


def test_whoever_begins_anew_is_told_to_continue(tmp_path: Path) -> None:
    with Scripted(trailing="anew").serve() as server:
        teacher = server.teacher(tmp_path)
        one(teacher, "a text")
    can = teacher.capability
    assert can.prefill == "instruction"
    assert can.said == ("refused", "The quick brown fox jumps over the lazy dog.")
    assert [each["role"] for each in server.last["messages"]] == ["user", "assistant", "user"]
    assert server.last["messages"][1:] == [
        {"role": "assistant", "content": "a text"},
        {"role": "user", "content": INSTRUCTION},
    ]


def test_an_instruction_s_answer_without_what_it_repeats() -> None:
    framed = frame(ask("def found(x):\n    return x"), "instruction", strips_space=False)
    cases = {
        "def found(x):\n    return x + 1": " + 1",
        "    return x + 1": " + 1",
        "x + 1": "x + 1",  # may be new
        " + 1": " + 1",
        "": "",
    }
    assert {each: framed.continuation(each) for each in cases} == cases
    indented = frame(ask("if x:\n    "), "instruction", strips_space=False)
    assert indented.continuation("    return") == "return"


@pytest.mark.parametrize("trailing", ["refused", "anew"])
def test_who_does_not_continue_is_said_where_it_has_to(tmp_path: Path, trailing: Any) -> None:
    with Scripted(trailing=trailing).serve() as server:
        assert server.teacher(tmp_path / "auto").capability.prefill == "instruction"
        with pytest.raises(TeacherError, match=r"text_teacher.prefill: 'one' does not continue"):
            server.teacher(tmp_path, prefill="prefill").check([])
        count = len(server.asked)
        told = server.teacher(tmp_path, prefill="instruction")
        assert told.capability.prefill == "instruction"
        assert len(server.asked) == count + 1


def test_a_trailing_message_that_is_continued(tmp_path: Path) -> None:
    with Scripted(trailing="continues").serve() as server:
        teacher = server.teacher(tmp_path)
        found = one(teacher, "The quick ")
        assert server.last["messages"][-1] == {"role": "assistant", "content": "The quick "}
        one(teacher, "")
        assert server.last["messages"] == [QUESTION.model_dump()]
    assert teacher.capability.prefill == "trailing"
    assert "continue_final_message" not in server.last
    assert found.texts[0].startswith("brown")


def test_white_space_that_is_refused_is_taken_off_and_accounted_for(tmp_path: Path) -> None:
    with Scripted(trailing="continues", space=False).serve() as server:
        teacher = server.teacher(tmp_path)
        found = one(teacher, "The quick ")
        assert server.last["messages"][-1]["content"] == "The quick"
        one(teacher, " \n ")
        assert len(server.last["messages"]) == 1
    assert teacher.capability.strips_space
    assert found.texts == (rest("The quick "),) * 2
    framed = frame(ask("if x:\n    "), "trailing", strips_space=True)
    cases = {"\n    y": "y", "\n\ty": "\ty", "y": "y", "\n    ": "", "\n      y": "  y"}
    assert {each: framed.continuation(each) for each in cases} == cases


def test_a_message_that_is_not_closed_is_continued_whatever_is_written(tmp_path: Path) -> None:
    with Scripted(flags=True, mumbles=True).serve() as server:
        assert server.teacher(tmp_path).capability.prefill == "continue_final_message"
    with Scripted(trailing="continues", mumbles=True).serve() as server:
        assert server.teacher(tmp_path / "other").capability.prefill == "instruction"


@pytest.mark.parametrize("several", ["ignored", "refused"])
def test_without_n_there_are_as_many_requests(tmp_path: Path, several: Any) -> None:
    with Scripted(flags=True, several=several).serve() as server:
        teacher = server.teacher(tmp_path)
        teacher.check([])
        before = len(server.asked)
        found = one(teacher, "a b", count=3)
    asked = server.asked[before:]
    assert teacher.capability.together == 1
    assert not any("n" in body for body in asked)
    assert len({body["seed"] for body in asked}) == len(asked) == found.requests == 3
    assert found.texts == (" after b",) * 3
    assert found.generated_tokens == 9


def test_more_than_an_endpoint_gives_at_once(tmp_path: Path) -> None:
    with Scripted(flags=True).serve() as server:
        found = one(server.teacher(tmp_path), "a", count=23)
    assert sorted(body["n"] for body in server.asked[-3:]) == [3, 10, 10]
    assert len(found.texts) == 23


def test_what_is_refused_by_name_is_left_out(tmp_path: Path) -> None:
    refuses = ("top_k", "min_p", "max_tokens")
    with Scripted(trailing="continues", refuses=refuses).serve() as server:
        server.trouble = []
        teacher = server.teacher(tmp_path)
        server.refuses = ("top_k", "min_p")
        one(teacher, "a")
    assert teacher.capability.left_out == ("top_k", "min_p")
    assert "n" in server.last
    assert "repetition_penalty" in server.last

    message = "Unsupported parameter: 'max_tokens'; use 'max_completion_tokens' instead."
    with Scripted(trailing="continues", trouble=[(400, message)]).serve() as server:
        teacher = server.teacher(tmp_path / "other")
        one(teacher, "a")
    assert server.last["max_completion_tokens"] == 8
    assert "max_tokens" not in server.last
    known = ("n", "top_k", "seed")
    cases = {
        "n must be 1": "n",
        "unknown: `n`": "n",
        "'top_k' is unknown; supported: n, seed": "top_k",
        "this isn't a number": None,
    }
    assert {says: named(says, known) for says in cases} == cases


def test_a_text_is_continued_as_it_is(tmp_path: Path) -> None:
    with Scripted().serve() as server:
        teacher = server.teacher(tmp_path, prompt="text")
        plain = ask("")._replace(messages=(), text="The quick")
        [(_, found)] = teacher.continuations([plain], 2, 0)
        with pytest.raises(TeacherError, match=r"set text_teacher\.prompt: chat"):
            teacher.check([ask("a")])
        with pytest.raises(TeacherError, match=r"set text_teacher\.prompt: text"):
            server.teacher(tmp_path).check([plain])
    assert server.asked[1]["prompt"] == "The quick"
    assert found.texts == (rest("The quick"),) * 2


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


def test_another_model_is_asked_anew(tmp_path: Path) -> None:
    with Scripted(flags=True).serve() as server:
        before = server.teacher(tmp_path).identity
        server.root, server.flags, server.trailing = "/models/two", False, "continues"
        after = server.teacher(tmp_path)
        assert after.capability.prefill == "trailing"
        assert {key for key in before if before[key] != after.identity[key]} == {
            "served",
            "prefill",
        }
        server.answers_as = "two"
        with pytest.raises(TeacherError, match="now answers as 'two', and did as 'one'"):
            one(after, "a")
        assert server.teacher(tmp_path).identity["answers_as"] == "two"


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
