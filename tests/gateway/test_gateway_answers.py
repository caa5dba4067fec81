"""Answers taken apart: prompt ids apart from the JSON parser, counts, tool calls."""

import json
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.gateway.answers import parse_answer, token_counts
from harness.records import StopReason
from tests.gateway.clients import attempt
from tests.gateway.scripted import body

IDS = st.lists(st.integers(0, 2**31 - 1), max_size=5)
TRICKY = st.sampled_from(['"prompt_token_ids":[1,2]', "\\", '"', "]", "prompt_token_ids"])
TEXT = st.lists(TRICKY | st.text(st.characters(exclude_categories=["Cs"]))).map("".join)


@given(IDS, TEXT, st.booleans(), st.booleans())
def test_ids_and_the_rest_are_what_the_json_says(
    ids: list[int], text: str, first: bool, spaces: bool
) -> None:
    rest = {"text": text}
    prompt = {"prompt_token_ids": ids}
    data = json.dumps(
        prompt | rest if first else rest | prompt,
        separators=(", ", ": ") if spaces else (",", ":"),
    ).encode()
    parsed, cut = parse_answer(data)
    assert parsed["text"] == text
    found = [int(number) for number in cut.split(b",")] if cut else parsed["prompt_token_ids"]
    assert found == ids


@pytest.mark.parametrize("ids", ['["x"]', "[1.5]", "[[1]]", "[-1]", "null", "[]", '{"a": 1}'])
def test_ids_of_another_form_are_left_to_the_parser(ids: str) -> None:
    data = b'{"prompt_token_ids":' + ids.encode() + b"}"
    assert parse_answer(data) == (orjson.loads(data), b"")


@pytest.mark.parametrize("ids", ["[1,,2]", "[99999999999]", "[,]"])
def test_prompt_ids_that_are_no_ids_end_the_attempt(tmp_path: Path, ids: str) -> None:
    whole = b'{"choices":[{"message":{"content":"x"},"token_ids":[1]}],"prompt_token_ids":'
    with attempt(tmp_path, body(whole + ids.encode() + b"}")) as one:
        one.ask()
        report, _ = one.end()
    assert report.ended is StopReason.INFRASTRUCTURE
    assert "prompt_token_ids" in report.detail


@pytest.mark.parametrize(
    ("usage", "counts"),
    [
        (None, (0, 0, 0)),
        ({"prompt_tokens": 5, "completion_tokens": 2}, (5, 0, 2)),
        ({"prompt_tokens": 5, "prompt_tokens_details": {"cached_tokens": 9}}, (5, 5, 0)),
        ({"prompt_tokens": "5", "completion_tokens": -2, "prompt_tokens_details": 1}, (0, 0, 0)),
    ],
)
def test_counts_of_any_usage(usage: Any, counts: tuple[int, int, int]) -> None:
    assert token_counts(usage) == counts
