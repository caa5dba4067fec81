"""Answers that have to be one of some texts."""

import math
from collections import Counter
from typing import Any

import httpx
import pytest

from tests.trainers.tiny import byte_tokenizer
from trainers.serving.choices import choice_trie

TOKENIZER = byte_tokenizer()
END = TOKENIZER.eos_token_id
MESSAGES = [{"role": "user", "content": "Which?"}]
CHOICES = [" get", " get item", " put"]


def ask(client: httpx.Client, status: int = 200, **body: Any) -> Any:
    answer = client.post(
        "/v1/chat/completions", json={"messages": MESSAGES, "max_tokens": 32} | body
    )
    assert answer.status_code == status, answer.text
    return answer.json()


def logprob(client: httpx.Client, text: str) -> float:
    """Of an answer and its end, by the prompt log-probs of an unconstrained request."""
    prompt = TOKENIZER.apply_chat_template(MESSAGES, tokenize=False, add_generation_prompt=True)
    start = TOKENIZER(prompt, add_special_tokens=False)["input_ids"]
    ids = [*start, *TOKENIZER(text, add_special_tokens=False)["input_ids"], END]
    body = {"prompt": ids, "max_tokens": 1, "prompt_logprobs": 0}
    (choice,) = client.post("/v1/completions", json=body).json()["choices"]
    return sum(
        float(entry[str(token)]["logprob"])
        for token, entry in zip(
            ids[len(start) :], choice["prompt_logprobs"][len(start) :], strict=True
        )
    )


def test_trie_tells_a_choice_from_its_beginning_by_the_end() -> None:
    root = choice_trie([[1, 2], [1, 2, 3], [4]], end=9)
    assert root.allowed == [1, 4]
    assert root.after(1).after(2).allowed == [3, 9]
    assert root.after(4).allowed == [9]
    assert root.after(4).after(9).allowed == []


@pytest.mark.parametrize("name", ["structured_outputs", "guided_choice"])
def test_every_answer_is_one_of_the_choices_and_each_comes(client: httpx.Client, name: str) -> None:
    value: Any = {"choice": CHOICES} if name == "structured_outputs" else CHOICES
    found: Counter[str] = Counter()
    for seed in range(40):
        body = ask(client, temperature=100, seed=seed, return_token_ids=True, **{name: value})
        (choice,) = body["choices"]
        text = choice["message"]["content"]
        assert choice["finish_reason"] == "stop"
        assert choice["token_ids"] == [*TOKENIZER(text, add_special_tokens=False)["input_ids"], END]
        found[text] += 1
    assert set(found) == set(CHOICES)


def test_greedy_takes_the_likeliest_token_among_the_allowed(client: httpx.Client) -> None:
    """`a`, `b` and `c` differ in one token, so that the greedy one is the likeliest."""
    choices = ["a", "b", "c"]
    body = ask(client, temperature=0, structured_outputs={"choice": choices})
    prefix = {one: logprob(client, one) - logprob_of_end(client, one) for one in choices}
    assert body["choices"][0]["message"]["content"] == max(prefix, key=lambda one: prefix[one])


def logprob_of_end(client: httpx.Client, text: str) -> float:
    prompt = TOKENIZER.apply_chat_template(MESSAGES, tokenize=False, add_generation_prompt=True)
    ids = [*TOKENIZER(prompt + text, add_special_tokens=False)["input_ids"], END]
    body = {"prompt": ids, "max_tokens": 1, "prompt_logprobs": 0}
    (choice,) = client.post("/v1/completions", json=body).json()["choices"]
    return float(choice["prompt_logprobs"][-1][str(END)]["logprob"])


def test_log_probs_are_those_of_the_whole_vocabulary(client: httpx.Client) -> None:
    body = ask(client, logprobs=True, structured_outputs={"choice": [" put"]})
    recorded = [one["logprob"] for one in body["choices"][0]["logprobs"]["content"]]
    assert sum(recorded) == pytest.approx(logprob(client, " put"), abs=1e-3)
    assert math.exp(sum(recorded)) < 0.5


def test_constrained_answers_stream_and_share_a_batch(client: httpx.Client) -> None:
    body = {"messages": MESSAGES, "stream": True, "guided_choice": [" put"]}
    with client.stream("POST", "/v1/chat/completions", json=body) as answer:
        text = "".join(answer.iter_text())
    assert [part for part in (" ", "p", "u", "t") if f'"content":"{part}"' not in text] == []


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"structured_outputs": {"choice": []}}, "at least 1 item"),
        ({"structured_outputs": {"choice": [""]}}, "at least 1 character"),
        ({"structured_outputs": {"regex": "a"}}, "structured_outputs"),
        ({"guided_choice": ["a"] * 513}, "at most 512"),
        ({"guided_choice": ["a</s>b"]}, "one that ends the answer"),
        ({"guided_choice": ["a"], "structured_outputs": {"choice": ["a"]}}, "together"),
    ],
)
def test_wrong_constraints_are_refused(
    client: httpx.Client, wrong: dict[str, Any], message: str
) -> None:
    for stream in (False, True):
        assert message in ask(client, status=400, stream=stream, **wrong)["error"]["message"]


def test_a_short_limit_cuts_a_choice(client: httpx.Client) -> None:
    body = ask(client, max_tokens=2, guided_choice=[" put"])
    assert body["choices"][0]["finish_reason"] == "length"
    assert body["choices"][0]["message"]["content"] == " p"
