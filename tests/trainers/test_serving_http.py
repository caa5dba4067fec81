"""The HTTP interface on a real server of a tiny model."""

import json
import time
from typing import Any

import httpx
import pytest

from tests.trainers.tiny import CONTEXT, Serve, byte_tokenizer, wait_until
from trainers.serving.engine import Engine, Generation

MESSAGES = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hé 🎉?"}]
CHAT = {"messages": MESSAGES, "max_tokens": 24, "seed": 1}
TOKENIZER = byte_tokenizer()


def chat(client: httpx.Client, **changes: Any) -> dict[str, Any]:
    answer = client.post("/v1/chat/completions", json=CHAT | changes)
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


def stream(client: httpx.Client, path: str, body: dict[str, Any]) -> list[dict[str, Any]]:
    answer = client.post(path, json=body | {"stream": True})
    assert answer.headers["content-type"].startswith("text/event-stream")
    events = [line.removeprefix("data: ") for line in answer.text.split("\n\n") if line]
    assert events.pop() == "[DONE]"
    return [json.loads(event) for event in events]


def refusal(
    client: httpx.Client, status: int, path: str = "/v1/chat/completions", **body: Any
) -> Any:
    answer = client.post(path, json=CHAT | body if "chat" in path else body)
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    return error


def test_health_and_models(client: httpx.Client) -> None:
    assert client.get("/health").status_code == 200
    (card,) = client.get("/v1/models").json()["data"]
    assert (card["id"], card["object"], card["max_model_len"]) == ("tiny", "model", CONTEXT)
    facts = card["facts"]
    assert facts["licence"] == "mit"
    assert facts["source"] == "a local folder"
    assert len(facts["weights_sha256"]) == len(facts["tokenizer_sha256"]) == 64
    assert facts["dtype"] == "float32"
    assert "torch" in facts["runtime"]


def test_chat_answer(client: httpx.Client) -> None:
    body = chat(client, model="tiny", logprobs=True, top_logprobs=3, return_token_ids=True)
    (choice,) = body["choices"]
    prompt = TOKENIZER.apply_chat_template(MESSAGES, tokenize=False, add_generation_prompt=True)
    assert body["object"] == "chat.completion"
    assert TOKENIZER.decode(body["prompt_token_ids"]) == prompt
    assert choice["message"]["role"] == "assistant"
    count = len(choice["token_ids"])
    assert body["usage"] == {
        "prompt_tokens": len(body["prompt_token_ids"]),
        "completion_tokens": count,
        "total_tokens": len(body["prompt_token_ids"]) + count,
    }
    assert choice["finish_reason"] == ("length" if count == 24 else "stop")
    logprobs = choice["logprobs"]["content"]
    assert len(logprobs) == count
    assert all(len(entry["top_logprobs"]) == 3 and entry["logprob"] <= 0 for entry in logprobs)


def test_token_ids_decode_to_the_text(client: httpx.Client) -> None:
    (choice,) = chat(client, return_token_ids=True, temperature=0)["choices"]
    whole = TOKENIZER.decode(choice["token_ids"], skip_special_tokens=True)
    assert whole.startswith(choice["message"]["content"])
    assert len(whole) - len(choice["message"]["content"]) <= 1  # an unfinished last character


def test_same_seed_same_answer(client: httpx.Client) -> None:
    answers = [
        chat(client, temperature=0.9, top_p=0.95, seed=seed)["choices"][0]["message"]["content"]
        for seed in (1, 1, 2)
    ]
    assert answers[0] == answers[1] != answers[2]


def test_stream_adds_up_to_the_answer(client: httpx.Client) -> None:
    options = {"return_token_ids": True, "logprobs": True}
    whole = chat(client, **options)
    events = stream(
        client, "/v1/chat/completions", CHAT | options | {"stream_options": {"include_usage": True}}
    )
    usage = events.pop()
    assert usage["choices"] == []
    assert usage["usage"] == whole["usage"]
    assert events[0]["choices"][0]["delta"]["role"] == "assistant"
    assert events[0]["prompt_token_ids"] == whole["prompt_token_ids"]
    choices = [event["choices"][0] for event in events]
    expected = whole["choices"][0]
    assert "".join(one["delta"]["content"] for one in choices) == expected["message"]["content"]
    assert [token for one in choices for token in one["token_ids"]] == expected["token_ids"]
    assert [one["logprobs"]["content"][0] for one in choices] == expected["logprobs"]["content"]
    finishes = [one["finish_reason"] for one in choices]
    assert finishes == [None] * (len(choices) - 1) + [expected["finish_reason"]]


@pytest.mark.parametrize("streamed", [False, True])
def test_stop_string(client: httpx.Client, streamed: bool) -> None:
    text = chat(client, temperature=0)["choices"][0]["message"]["content"]
    stop = text[6:8]
    body = {**CHAT, "temperature": 0, "stop": [stop, "never"]}
    if streamed:
        choices = [one["choices"][0] for one in stream(client, "/v1/chat/completions", body)]
        found = "".join(one["delta"]["content"] for one in choices)
        finish = choices[-1]["finish_reason"]
    else:
        (choice,) = chat(client, **body)["choices"]
        found, finish = choice["message"]["content"], choice["finish_reason"]
    assert found == text[: text.index(stop)]
    assert finish == "stop"


def test_completion_of_text_and_of_token_ids(client: httpx.Client) -> None:
    ids = TOKENIZER("once upon")["input_ids"]
    options = {"max_tokens": 8, "seed": 4, "logprobs": 2, "return_token_ids": True}
    answers = [
        client.post("/v1/completions", json={"prompt": prompt, **options}).json()["choices"][0]
        for prompt in ("once upon", ids)
    ]
    assert answers[0] == answers[1]
    assert answers[0]["prompt_token_ids"] == ids
    assert len(answers[0]["logprobs"]["token_logprobs"]) == len(answers[0]["token_ids"])
    events = stream(client, "/v1/completions", {"prompt": ids, **options})
    assert "".join(event["choices"][0]["text"] for event in events) == answers[0]["text"]


def test_prompt_logprobs_have_vllms_shape(client: httpx.Client) -> None:
    ids = TOKENIZER("once")["input_ids"]
    body = {"prompt": ids, "max_tokens": 1, "prompt_logprobs": 1}
    (choice,) = client.post("/v1/completions", json=body).json()["choices"]
    first, *rest = choice["prompt_logprobs"]
    assert first is None
    for token, entry in zip(ids[1:], rest, strict=True):
        assert entry[str(token)].keys() == {"logprob", "rank", "decoded_token"}
        assert entry[str(token)]["decoded_token"] == TOKENIZER.decode([token])
        assert any(one["rank"] == 1 for one in entry.values())


def test_context_overflow(client: httpx.Client) -> None:
    error = refusal(client, 400, messages=[{"role": "user", "content": "a" * CONTEXT}])
    assert error["code"] == "context_length_exceeded"
    assert f"maximum context length is {CONTEXT} tokens" in error["message"]
    assert refusal(client, 400, max_tokens=CONTEXT)["code"] == "context_length_exceeded"


def test_without_a_limit_the_context_is_the_limit(serve: Serve) -> None:
    small = serve(max_model_len=64)
    body = {"messages": [{"role": "user", "content": "a"}], "temperature": 0, "seed": 1}
    usage = small.post("/v1/chat/completions", json=body).json()["usage"]
    assert usage["total_tokens"] <= 64


@pytest.mark.parametrize(
    ("body", "parts"),
    [
        ({"temprature": 1}, ["'temprature'", "did you mean 'temperature'?"]),
        ({"tools": []}, ["'tools' is not supported"]),
        ({"n": 2}, ["'n'", "found 2"]),
        ({"temperature": -1}, ["'temperature'", "greater than or equal to 0"]),
        ({"top_p": 0}, ["'top_p'"]),
        ({"max_tokens": 0}, ["'max_tokens'"]),
        ({"messages": []}, ["'messages'"]),
        ({"messages": [{"role": "user", "content": 5}]}, ["messages.0.content"]),
        ({"messages": [{"role": "wizard", "content": "x"}]}, ["messages.0.role"]),
        ({"stop": [""]}, ["stop"]),
    ],
)
def test_bad_parameters(client: httpx.Client, body: dict[str, Any], parts: list[str]) -> None:
    error = refusal(client, 400, **body)
    assert all(part in error["message"] for part in parts), error["message"]


def test_other_refusals(client: httpx.Client) -> None:
    assert "no-such" in refusal(client, 404, model="no-such")["message"]
    assert "empty" in refusal(client, 400, "/v1/completions", prompt="")["message"]
    assert "999999" in refusal(client, 400, "/v1/completions", prompt=[999999])["message"]
    broken = client.post("/v1/chat/completions", content=b"{")
    assert broken.status_code == 400
    assert "not JSON" in broken.json()["error"]["message"]
    assert client.get("/nowhere").json()["error"]["code"] == 404
    assert client.get("/v1/chat/completions").json()["error"]["code"] == 405


@pytest.mark.parametrize("streamed", [False, True])
def test_a_client_that_leaves_is_forgotten(
    serve: Serve, streamed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    requests: list[Generation] = []
    submit, sample = Engine.submit, Engine._sample

    def recording(self: Engine, request: Generation) -> None:
        requests.append(request)
        submit(self, request)

    def endlessly(self: Engine, row: Any, logits: Any) -> None:
        time.sleep(0.05)
        logits[TOKENIZER.eos_token_id] = float("-inf")
        sample(self, row, logits)

    monkeypatch.setattr(Engine, "submit", recording)
    monkeypatch.setattr(Engine, "_sample", endlessly)
    client = serve()
    body = {"prompt": [5], "max_tokens": CONTEXT - 1, "stream": streamed, "temperature": 0}
    if streamed:
        with client.stream("POST", "/v1/completions", json=body) as answer:
            next(answer.iter_lines())
    else:
        with pytest.raises(httpx.ReadTimeout):
            client.post("/v1/completions", json=body, timeout=0.5)
    wait_until(lambda: requests[0].cancelled)
