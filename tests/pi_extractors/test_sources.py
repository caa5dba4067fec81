"""One conformance suite for the sources: deterministic, within budget, honest about inputs."""

from collections.abc import Callable
from typing import Any

import pytest

from harness.records import Instance, Question
from pi_extractors.base import Edit, Snapshot, TokenCounter
from pi_extractors.cache import CacheableSource, provenance_key, record_key
from pi_extractors.call_graph.source import CallGraphSource
from pi_extractors.gold_answer import GoldAnswerSource
from pi_extractors.gold_patch import GoldPatchSource
from pi_extractors.next_file import NextFileSource
from pi_extractors.records import TIERS, PIRecord
from pi_extractors.test_manifest import TestManifestSource
from pi_extractors.tokens import Estimate
from tests.pi_extractors.cases import case, snapshot

Source = CacheableSource[Any]
QUESTION = Question(id="aime-1", problem="1 + 1?", answer="\\frac{4}{2}\n", suite="aime")
KINDS: list[Callable[..., Source]] = [
    CallGraphSource,
    TestManifestSource,
    GoldPatchSource,
    NextFileSource,
    GoldAnswerSource,
]


@pytest.fixture(params=KINDS, ids=lambda kind: str(kind.name))
def kind(request: pytest.FixtureRequest) -> Callable[..., Source]:
    made: Callable[..., Source] = request.param
    return made


def _item(source: Source) -> Instance | Question:
    return QUESTION if isinstance(source, GoldAnswerSource) else case()


def _extract(source: Source, tree: Snapshot | None = None) -> PIRecord:
    return source.extract(_item(source), tree or snapshot())


def test_the_record_says_what_it_is(kind: Callable[..., Source]) -> None:
    source = kind()
    record = _extract(source)
    assert record.source == source.name
    assert record.tier == source.tier == TIERS[source.name]
    assert record.instance_id in ("owner__pkg-1", "aime-1")
    assert record.text
    assert record.tokens == Estimate().count(record.text)
    assert record.tokenizer == "estimate/1"
    assert record.budget == source.budget
    assert record.provenance.extractor == source.extractor
    assert not record.truncated


def test_equal_inputs_give_equal_bytes(kind: Callable[..., Source]) -> None:
    assert _extract(kind()).model_dump_json() == _extract(kind()).model_dump_json()


def test_provenance_is_known_before_extraction(kind: Callable[..., Source]) -> None:
    source = kind()
    item = _item(source)
    record = _extract(source)
    inputs = source.inputs(item, snapshot())
    assert record.provenance.inputs == inputs
    assert record_key(record) == provenance_key(source, record.instance_id, inputs)
    assert record_key(record) != record_key(_extract(kind(budget=1000)))


class Characters:
    name = "characters"

    def count(self, text: str) -> int:
        return len(text)


@pytest.mark.parametrize("counter", [Estimate(), Characters()])
def test_every_budget_is_kept_in_whole_lines(
    kind: Callable[..., Source], counter: TokenCounter
) -> None:
    whole = _extract(kind(counter, 10**6))
    lines = set(whole.text.split("\n"))
    for budget in (*range(0, whole.tokens, max(1, whole.tokens // 40)), whole.tokens):
        record = _extract(kind(counter, budget))
        assert record.tokens == counter.count(record.text) <= budget
        assert record.truncated == (record.text != whole.text)
        shown = record.text.split("\n") if record.text else []
        cut = [line for line in shown if line.startswith("[cut to fit: ")]
        assert len(cut) == (1 if record.truncated and shown else 0)
        assert set(shown) - set(cut) <= lines


def test_a_source_that_reads_the_repository_says_so(kind: Callable[..., Source]) -> None:
    source = kind()
    item = _item(source)
    if source.reads_repository:
        with pytest.raises(ValueError, match="repository"):
            source.extract(item)
        changed = source.inputs(item, snapshot(extra=b"1\n"))
        assert changed != source.inputs(item, snapshot())
    else:
        assert source.extract(item) == source.extract(item, snapshot())


def test_other_columns_do_not_matter(kind: Callable[..., Source]) -> None:
    """What a source does not read must not reach its text: the solution, above all."""
    source = kind()
    if isinstance(source, GoldAnswerSource):
        return
    other = {"hints_text": "SECRET", "eval_script": "SECRET", "version": "SECRET"}
    if not isinstance(source, CallGraphSource):
        other["problem_statement"] = "SECRET"
    if source.tier == "deployable":
        other["patch"] = "--- a/SECRET\n+++ b/SECRET\n@@ -1 +1 @@\n-a\n+SECRET\n"
    record = source.extract(case(**other), snapshot())
    assert record == source.extract(case(), snapshot())


def test_answers_are_stripped() -> None:
    assert _extract(GoldAnswerSource()).text == "Final answer: \\frac{4}{2}"


def test_steps_are_recorded_where_they_matter(kind: Callable[..., Source]) -> None:
    source = kind()
    record = source.extract(_item(source), snapshot(), [Edit(step=1, path="x")], step=3)
    assert record.step == (3 if isinstance(source, NextFileSource) else None)
